"""The vocabulary of array shapes. The classes are the last axis, always.

Logits      unnormalized log-probabilities, one a class
Labels      class indices, 0 to classes - 1
Targets     probabilities of the classes, which sum to 1
Scores      one real number an example; its sign is the predicted class
Signs       the true class as -1 or +1
Pixels      one score a pixel of an image; the pixels are the last axis
Masks       which pixels belong to the object: 0, 1, or a probability
Terms       the losses of several terms or tasks; the terms are the last axis
PerExample  one loss an example: nothing is averaged yet
PerBatch    one loss for the whole batch
Vectors     one vector an example, or one of a pair
Embeddings  the vectors of a batch whose examples meet each other
BatchLabels the classes of a batch whose examples meet each other
Marks       whether a pair is of one class: true or 1, false or 0
ClassVectors one vector a class: weights of a layer without bias, or proxies
FirstSample, SecondSample  points of two samples, one a row
"""

from jaxtyping import Float, Int, Shaped
from numpy import ndarray
from torch import Tensor

Logits = Float[Tensor, "*batch classes"]
Labels = Int[Tensor, "*batch"]
Targets = Float[Tensor, "*batch classes"]
Scores = Float[Tensor, "*batch"]
Signs = Shaped[Tensor, "*batch"]
Probabilities = Shaped[Tensor, "*batch"]
Pixels = Float[Tensor, "*batch pixels"]
Masks = Shaped[Tensor, "*batch pixels"]
Terms = Float[Tensor, "*batch terms"]
PerExample = Float[Tensor, "*batch"]
PerBatch = Float[Tensor, ""]
Vectors = Float[Tensor, "*batch dimensions"]
Embeddings = Float[Tensor, "examples dimensions"]
BatchLabels = Int[Tensor, "examples"]
Marks = Shaped[Tensor, "*batch"]
ClassVectors = Float[Tensor, "classes dimensions"]
FirstSample = Float[Tensor, "first dimensions"]
SecondSample = Float[Tensor, "second dimensions"]

NpLogits = Float[ndarray, "*batch classes"]
NpLabels = Int[ndarray, "*batch"]
NpTargets = Float[ndarray, "*batch classes"]
NpScores = Float[ndarray, "*batch"]
NpSigns = Shaped[ndarray, "*batch"]
NpMasks = Float[ndarray, "*batch pixels"]
NpVectors = Float[ndarray, "*batch dimensions"]
NpMarks = Int[ndarray, "*batch"]
NpClassVectors = Float[ndarray, "classes dimensions"]
NpTerms = Float[ndarray, "*batch terms"]
NpPerExample = Float[ndarray, "*batch"]

Parameter = float | Tensor  # a tensor broadcasts against the loss per example
