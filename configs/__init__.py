"""The configurations of every stage, and the leaf modules that all stages share.

``configs`` imports no other folder, so that every folder may import it:

- ``clsa.configs.command``    what a command line owes its user: one clear sentence and an exit code;
- ``clsa.configs.loading``    YAML into an fvcore ``CfgNode``, unknown keys refused;
- ``clsa.configs.run_files``  the files that a run leaves: written whole or not at all.
"""
