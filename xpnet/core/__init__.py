"""The ground floor: backends, ops, tensors, random numbers; it knows no layer and no kernel."""
