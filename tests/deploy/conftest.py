import pytest
from small_run import MEAN, MODEL, NAMES, STD, drawn_params

from deploy.run_files import save_model


@pytest.fixture
def run_folder(tmp_path):
  """What a run of speech leaves for its use."""
  folder = tmp_path / "run"
  folder.mkdir()
  save_model(
    folder,
    experiment="speech",
    model=MODEL,
    params=drawn_params(),
    input_shape=(420,),
    class_names=NAMES,
    theta=0.8,
    statistics={"mean": MEAN.tolist(), "std": STD.tolist()},
  )
  return folder
