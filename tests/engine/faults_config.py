_base_ = "toy_config.py"
custom_imports = dict(imports=["toy", "faults"])
