//go:build goexperiment.simd

#include "textflag.h"

// func pairTiles(dst, src unsafe.Pointer, stride uintptr, pairs, blocks int, across uintptr)
TEXT ·pairTiles(SB), NOSPLIT, $0-48
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ stride+16(FP), AX
	MOVQ pairs+24(FP), DX
	MOVQ across+40(FP), R12

pair:
	MOVQ SI, R8
	MOVQ DI, R10
	MOVQ blocks+32(FP), CX

columns:
	VPMOVZXWD (R8), Z0
	VPMOVZXWD (R8)(AX*1), Z1
	VPSLLD    $16, Z1, Z1
	VPORD     Z1, Z0, Z0
	VMOVDQU64 Z0, (R10)
	ADDQ      $32, R8
	ADDQ      R12, R10
	DECQ      CX
	JNZ       columns
	LEAQ      (SI)(AX*2), SI
	ADDQ      $64, DI
	DECQ      DX
	JNZ       pair
	VZEROUPPER
	RET

// func writeSums(dst unsafe.Pointer, pitch uintptr, sums unsafe.Pointer, rows, pairs int, how writing)
TEXT ·writeSums(SB), NOSPLIT, $0-48
	MOVQ dst+0(FP), DI
	MOVQ pitch+8(FP), AX
	MOVQ sums+16(FP), SI
	MOVQ rows+24(FP), DX
	MOVQ pairs+32(FP), BX
	MOVQ how+40(FP), R11
	MOVQ $16, R12

sumsRow:
	MOVQ  SI, R8
	MOVQ  DI, R10
	MOVQ  BX, CX
	CMPQ  R11, $1
	JEQ   sumsAdd
	JA    sumsPast

sumsSet:
	VMOVUPS (R8), Z0
	VMOVUPS 1024(R8), Z1
	VMOVUPS Z0, (R10)
	VMOVUPS Z1, 64(R10)
	ADDQ    $4096, R8
	ADDQ    $128, R10
	DECQ    CX
	JNZ     sumsSet
	JMP     sumsNext

sumsAdd:
	VMOVUPS (R10), Z0
	VMOVUPS 64(R10), Z1
	VADDPS  (R8), Z0, Z0
	VADDPS  1024(R8), Z1, Z1
	VMOVUPS Z0, (R10)
	VMOVUPS Z1, 64(R10)
	ADDQ    $4096, R8
	ADDQ    $128, R10
	DECQ    CX
	JNZ     sumsAdd

	JMP     sumsNext

sumsPast:
	VMOVUPS  (R8), Z0
	VMOVUPS  1024(R8), Z1
	VMOVNTPS Z0, (R10)
	VMOVNTPS Z1, 64(R10)
	ADDQ     $4096, R8
	ADDQ     $128, R10
	DECQ     CX
	JNZ      sumsPast

sumsNext:
	ADDQ $64, SI
	ADDQ AX, DI
	DECQ R12
	JNZ  sumsMore
	ADDQ $1024, SI // from the first sixteen rows' tiles to the others'

sumsMore:
	DECQ DX
	JNZ  sumsRow
	VZEROUPPER
	RET

#define PAIRS(a, b, lo, hi) \
	VUNPCKLPS b, a, lo \
	VUNPCKHPS b, a, hi

#define QUADS(a, b, lo, hi) \
	VUNPCKLPD b, a, lo \
	VUNPCKHPD b, a, hi

#define LANES(a, b, even, odd) \
	VSHUFF32X4 $0x88, b, a, even \
	VSHUFF32X4 $0xdd, b, a, odd

// func transposeTiles(dst unsafe.Pointer, dstStride uintptr, src unsafe.Pointer, srcStride uintptr, tiles int, dstStep, srcStep uintptr)
TEXT ·transposeTiles(SB), NOSPLIT, $0-56
	MOVQ dst+0(FP), DI
	MOVQ dstStride+8(FP), BX
	MOVQ src+16(FP), SI
	MOVQ srcStride+24(FP), AX
	MOVQ tiles+32(FP), DX

tile:
	MOVQ      SI, R8
	LEAQ      (AX)(AX*2), CX
	VMOVUPS   (R8), Z0
	VMOVUPS   (R8)(AX*1), Z1
	VMOVUPS   (R8)(AX*2), Z2
	VMOVUPS   (R8)(CX*1), Z3
	LEAQ      (R8)(AX*4), R8
	VMOVUPS   (R8), Z4
	VMOVUPS   (R8)(AX*1), Z5
	VMOVUPS   (R8)(AX*2), Z6
	VMOVUPS   (R8)(CX*1), Z7
	LEAQ      (R8)(AX*4), R8
	VMOVUPS   (R8), Z8
	VMOVUPS   (R8)(AX*1), Z9
	VMOVUPS   (R8)(AX*2), Z10
	VMOVUPS   (R8)(CX*1), Z11
	LEAQ      (R8)(AX*4), R8
	VMOVUPS   (R8), Z12
	VMOVUPS   (R8)(AX*1), Z13
	VMOVUPS   (R8)(AX*2), Z14
	VMOVUPS   (R8)(CX*1), Z15
	PAIRS(Z0, Z1, Z16, Z17)
	PAIRS(Z2, Z3, Z18, Z19)
	PAIRS(Z4, Z5, Z20, Z21)
	PAIRS(Z6, Z7, Z22, Z23)
	PAIRS(Z8, Z9, Z24, Z25)
	PAIRS(Z10, Z11, Z26, Z27)
	PAIRS(Z12, Z13, Z28, Z29)
	PAIRS(Z14, Z15, Z30, Z31)
	QUADS(Z16, Z18, Z0, Z1)
	QUADS(Z17, Z19, Z2, Z3)
	QUADS(Z20, Z22, Z4, Z5)
	QUADS(Z21, Z23, Z6, Z7)
	QUADS(Z24, Z26, Z8, Z9)
	QUADS(Z25, Z27, Z10, Z11)
	QUADS(Z28, Z30, Z12, Z13)
	QUADS(Z29, Z31, Z14, Z15)
	LANES(Z0, Z4, Z16, Z20)
	LANES(Z1, Z5, Z17, Z21)
	LANES(Z2, Z6, Z18, Z22)
	LANES(Z3, Z7, Z19, Z23)
	LANES(Z8, Z12, Z24, Z28)
	LANES(Z9, Z13, Z25, Z29)
	LANES(Z10, Z14, Z26, Z30)
	LANES(Z11, Z15, Z27, Z31)
	LANES(Z16, Z24, Z0, Z8)
	LANES(Z17, Z25, Z1, Z9)
	LANES(Z18, Z26, Z2, Z10)
	LANES(Z19, Z27, Z3, Z11)
	LANES(Z20, Z28, Z4, Z12)
	LANES(Z21, Z29, Z5, Z13)
	LANES(Z22, Z30, Z6, Z14)
	LANES(Z23, Z31, Z7, Z15)
	MOVQ      DI, R8
	LEAQ      (BX)(BX*2), CX
	VMOVUPS   Z0, (R8)
	VMOVUPS   Z1, (R8)(BX*1)
	VMOVUPS   Z2, (R8)(BX*2)
	VMOVUPS   Z3, (R8)(CX*1)
	LEAQ      (R8)(BX*4), R8
	VMOVUPS   Z4, (R8)
	VMOVUPS   Z5, (R8)(BX*1)
	VMOVUPS   Z6, (R8)(BX*2)
	VMOVUPS   Z7, (R8)(CX*1)
	LEAQ      (R8)(BX*4), R8
	VMOVUPS   Z8, (R8)
	VMOVUPS   Z9, (R8)(BX*1)
	VMOVUPS   Z10, (R8)(BX*2)
	VMOVUPS   Z11, (R8)(CX*1)
	LEAQ      (R8)(BX*4), R8
	VMOVUPS   Z12, (R8)
	VMOVUPS   Z13, (R8)(BX*1)
	VMOVUPS   Z14, (R8)(BX*2)
	VMOVUPS   Z15, (R8)(CX*1)
	ADDQ      dstStep+40(FP), DI
	ADDQ      srcStep+48(FP), SI
	DECQ      DX
	JNZ       tile
	VZEROUPPER
	RET
