// The one program: every kernel.
#include "probe.cu"
#include "embed.cu"
#include "convert.cu"
#include "residual.cu"
#include "heads.cu"
#include "tensor.cu"
#include "gate.cu"
#include "head.cu"
