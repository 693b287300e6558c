"""Models on a labelled split: class IoU, and how steady the labels are along the flow (`dwnet evaluate`).

`predictors` are the models, `inference` how a frame is put to them, `measure` runs one over a split, `processes` shares
the split out, `server_files` are the label maps that the Cityscapes benchmark takes, `report` is what is printed.
"""
