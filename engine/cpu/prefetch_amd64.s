//go:build goexperiment.simd

#include "textflag.h"

// func prefetchRows(p unsafe.Pointer, stride uintptr)
TEXT ·prefetchRows(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), AX
	MOVQ stride+8(FP), BX
	LEAQ (BX)(BX*2), CX
	MOVQ $4, DX

loop:
	PREFETCHT1 (AX)
	PREFETCHT1 (AX)(BX*1)
	PREFETCHT1 (AX)(BX*2)
	PREFETCHT1 (AX)(CX*1)
	LEAQ (AX)(BX*4), AX
	DECQ DX
	JNZ  loop
	RET
