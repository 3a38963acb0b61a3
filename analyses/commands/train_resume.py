"""What going on with a run takes from the command line: nothing but how to show it."""

from dataclasses import fields

from analyses.arguments import Train, TrainKind
from toy_models.errors import InputError


def check_alone(arguments: Train | TrainKind) -> None:
    """`InputError` if --resume comes with an option that decides what a run is."""
    default = type(arguments)(
        resume=arguments.resume, json=arguments.json, threads=arguments.threads, debug=arguments.debug
    )
    for f in fields(arguments):
        if getattr(arguments, f.name) != getattr(default, f.name):
            raise InputError(f"--resume takes everything from the run, so --{f.name} cannot be given with it")
