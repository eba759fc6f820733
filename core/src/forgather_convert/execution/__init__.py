"""Executes a plan: writes files into a staging directory and moves it to the destination."""
