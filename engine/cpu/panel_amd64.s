//go:build goexperiment.simd

#include "textflag.h"

// Rows of a [.., k] times a panel [depth, 16], sums in registers: two a row.
// A is where the rows begin, four bytes further with every step; D is the panel.

#define ROW(a, lo, hi) \
	VBROADCASTSS a, Y14 \
	VFMADD231PS  Y12, Y14, lo \
	VFMADD231PS  Y13, Y14, hi

#define STEP \
	VMOVUPS (DX), Y12 \
	VMOVUPS 32(DX), Y13 \
	ADDQ    $64, DX

#define NEXT \
	ADDQ $4, SI \
	ADDQ $4, DI \
	DECQ CX

#define LOAD(at, lo, hi) \
	VMOVUPS at(BX), lo \
	VMOVUPS (at+32)(BX), hi

#define STORE(at, lo, hi) \
	VMOVUPS lo, at(BX) \
	VMOVUPS hi, (at+32)(BX)

// func panelRows(rows int, a *float32, stride uintptr, panel *float32, depth int, sums *float32)
TEXT ·panelRows(SB), NOSPLIT, $0-48
	MOVQ rows+0(FP), AX
	MOVQ a+8(FP), SI
	MOVQ stride+16(FP), R8
	MOVQ panel+24(FP), DX
	MOVQ depth+32(FP), CX
	MOVQ sums+40(FP), BX
	LEAQ (R8)(R8*2), DI
	ADDQ SI, DI              // the fourth row
	CMPQ AX, $6
	JEQ  six
	CMPQ AX, $4
	JEQ  four
	CMPQ AX, $2
	JEQ  two

	LOAD(0, Y0, Y1)
one_step:
	STEP
	ROW((SI), Y0, Y1)
	NEXT
	JNZ one_step
	STORE(0, Y0, Y1)
	VZEROUPPER
	RET

two:
	LOAD(0, Y0, Y1)
	LOAD(64, Y2, Y3)
two_step:
	STEP
	ROW((SI), Y0, Y1)
	ROW((SI)(R8*1), Y2, Y3)
	NEXT
	JNZ two_step
	STORE(0, Y0, Y1)
	STORE(64, Y2, Y3)
	VZEROUPPER
	RET

four:
	LOAD(0, Y0, Y1)
	LOAD(64, Y2, Y3)
	LOAD(128, Y4, Y5)
	LOAD(192, Y6, Y7)
four_step:
	STEP
	ROW((SI), Y0, Y1)
	ROW((SI)(R8*1), Y2, Y3)
	ROW((SI)(R8*2), Y4, Y5)
	ROW((DI), Y6, Y7)
	NEXT
	JNZ four_step
	STORE(0, Y0, Y1)
	STORE(64, Y2, Y3)
	STORE(128, Y4, Y5)
	STORE(192, Y6, Y7)
	VZEROUPPER
	RET

six:
	LOAD(0, Y0, Y1)
	LOAD(64, Y2, Y3)
	LOAD(128, Y4, Y5)
	LOAD(192, Y6, Y7)
	LOAD(256, Y8, Y9)
	LOAD(320, Y10, Y11)
six_step:
	STEP
	ROW((SI), Y0, Y1)
	ROW((SI)(R8*1), Y2, Y3)
	ROW((SI)(R8*2), Y4, Y5)
	ROW((DI), Y6, Y7)
	ROW((DI)(R8*1), Y8, Y9)
	ROW((DI)(R8*2), Y10, Y11)
	NEXT
	JNZ six_step
	STORE(0, Y0, Y1)
	STORE(64, Y2, Y3)
	STORE(128, Y4, Y5)
	STORE(192, Y6, Y7)
	STORE(256, Y8, Y9)
	STORE(320, Y10, Y11)
	VZEROUPPER
	RET
