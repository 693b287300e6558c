"""`dwnet judge-flow`."""

from pathlib import Path

import tyro

from dwnet.core.progress import Progress


def judge_flow(refinements: tyro.conf.Positional[tuple[Path, ...]] = (), /) -> None:
    """Measure the error of DIS flow, and of the flow that DWNet refines from it, on rendered streets with exact flow.

    Args:
        refinements: exported flow refinements (.onnx); default: the bundled one.
    """
    from dwnet.core.bundled import models_folder
    from dwnet.data.street_source import first_seed
    from dwnet.deploy.runtime import OnnxFlowRefinement, load
    from dwnet.evaluation.flow_error import flows_to_judge, markdown
    from dwnet.evaluation.flow_error import judge_flow as judge
    from dwnet.street import StreetScene

    flows = flows_to_judge()
    for path in refinements or (models_folder() / "flow_refinement.onnx",):
        refiner = load(path, kind="flow_refinement")
        assert isinstance(refiner, OnnxFlowRefinement)
        flows[f"DIS, refined by {path.stem}"] = flows_to_judge(refiner)["DIS, refined"]
    scenes = [StreetScene(first_seed("test") + street) for street in range(8)]
    progress = Progress("flow")
    judged = judge(scenes, flows, frames_per_scene=4, progress=progress)
    progress.close()
    print("Flow against the exact flow of 8 test streets, 4 frames of each:\n")
    print(markdown(judged))
