"""Run a workflow's training in one of several processes, then write down this process's beta and weights' sum."""

import json
import os
import sys
from pathlib import Path

from monai.bundle import ConfigWorkflow

settings = json.loads(sys.argv[1])
workflow = ConfigWorkflow(logging_file=False, **settings)
workflow.initialize()
workflow.run()
parser = workflow.parser
result = {
    "beta": parser.get_parsed_content("preference").beta.tolist(),
    "weights": float(sum(value.double().abs().sum() for value in parser.get_parsed_content("network").parameters())),
}
name = f"rank{os.environ.get('RANK', 'alone')}.json"
(Path(settings["output_dir"]) / name).write_text(json.dumps(result))
workflow.finalize()
