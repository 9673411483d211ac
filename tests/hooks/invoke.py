"""Calls lambda_handler(event, context) of a file with the event on stdin, as the Lambda runtime does."""

import importlib.util
import json
import sys


def load(path):
    spec = importlib.util.spec_from_file_location("function", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.lambda_handler


if __name__ == "__main__":
    handler = load(sys.argv[1])
    print(json.dumps(handler(json.load(sys.stdin), None)))
