"""A bundle as the teacher of a network: what it answers on each image that the network is shown."""

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.models.bundle import Bundle
from tumorlens.models.engine import Engine
from tumorlens.models.performance import TeacherBundle
from tumorlens.predictions.decision import softmax
from tumorlens.study.training.learner import DISTILLATION_TEMPERATURE


class Teacher:
    """Its graph runs beside the training, on one core, whatever the side of the images."""

    def __init__(self, bundle: Bundle) -> None:
        self._engine, self._side = Engine(bundle), bundle.spec.side

    def answer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return softened probabilities [n, atoms] of prepared images, uint8 [n, s, s, 1]."""
        size = (self._side, self._side)
        shown = [cv2.resize(image, size, interpolation=cv2.INTER_CUBIC) for image in images]
        return softmax(self._engine.run(np.stack(shown)).logits, DISTILLATION_TEMPERATURE).astype(
            np.float32
        )


def describe_teacher(bundle: Bundle) -> TeacherBundle:
    """Return what a run keeps of its teacher."""
    return TeacherBundle(bundle.name, bundle.graph_sha256, bundle.provenance.trained_on)
