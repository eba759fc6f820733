"""Runs a configuration of the framework in one of several processes on a CPU.

The framework's ``train`` starts the group of processes for accelerators only. Where there is a
group it takes that.
"""

import json
import sys

import torch.distributed
from forgather.project import Project

torch.distributed.init_process_group("gloo")
project, config, arguments = sys.argv[1:]
Project(config, project, **json.loads(arguments))().run()
torch.distributed.destroy_process_group()
