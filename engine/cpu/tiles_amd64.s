//go:build goexperiment.simd

#include "textflag.h"

// Go's assembler knows no AMX. Tiles of A, rows AX bytes apart, are loaded from SI
// and DI to 4 and 5; those of B, of 64 bytes a row as CX says, from BX and DX to 6 and
// 7; sums are 0 to 3, of A's first tile with both of B, then of its second.
#define CONFIGURE   BYTE $0xc4; BYTE $0xe2; BYTE $0x78; BYTE $0x49; BYTE $0x00 // LDTILECFG (AX)
#define RELEASE     BYTE $0xc4; BYTE $0xe2; BYTE $0x78; BYTE $0x49; BYTE $0xc0 // TILERELEASE
#define LOADA0      BYTE $0xc4; BYTE $0xe2; BYTE $0x7b; BYTE $0x4b; BYTE $0x24; BYTE $0x06 // TILELOADD (SI)(AX*1), T4
#define LOADA1      BYTE $0xc4; BYTE $0xe2; BYTE $0x7b; BYTE $0x4b; BYTE $0x2c; BYTE $0x07 // TILELOADD (DI)(AX*1), T5
#define LOADB0      BYTE $0xc4; BYTE $0xe2; BYTE $0x7b; BYTE $0x4b; BYTE $0x34; BYTE $0x0b // TILELOADD (BX)(CX*1), T6
#define LOADB1      BYTE $0xc4; BYTE $0xe2; BYTE $0x7b; BYTE $0x4b; BYTE $0x3c; BYTE $0x0a // TILELOADD (DX)(CX*1), T7
#define DOT00       BYTE $0xc4; BYTE $0xe2; BYTE $0x4a; BYTE $0x5c; BYTE $0xc4 // TDPBF16PS T6, T4, T0
#define DOT01       BYTE $0xc4; BYTE $0xe2; BYTE $0x42; BYTE $0x5c; BYTE $0xcc // TDPBF16PS T7, T4, T1
#define DOT10       BYTE $0xc4; BYTE $0xe2; BYTE $0x4a; BYTE $0x5c; BYTE $0xd5 // TDPBF16PS T6, T5, T2
#define DOT11       BYTE $0xc4; BYTE $0xe2; BYTE $0x42; BYTE $0x5c; BYTE $0xdd // TDPBF16PS T7, T5, T3
#define ZERO(modrm) BYTE $0xc4; BYTE $0xe2; BYTE $0x7b; BYTE $0x49; BYTE $modrm // TILEZERO
#define LOAD(modrm) BYTE $0xc4; BYTE $0xe2; BYTE $0x7b; BYTE $0x4b; BYTE $modrm; BYTE $0x0e // TILELOADD (SI)(CX*1)
#define KEEP(modrm) BYTE $0xc4; BYTE $0xe2; BYTE $0x7a; BYTE $0x4b; BYTE $modrm; BYTE $0x0e // TILESTORED (SI)(CX*1)

#define KEEPA0      BYTE $0xc4; BYTE $0xc2; BYTE $0x7a; BYTE $0x4b; BYTE $0x24; BYTE $0x0c // TILESTORED T4, (R12)(CX*1)
#define KEEPA1      BYTE $0xc4; BYTE $0xc2; BYTE $0x7a; BYTE $0x4b; BYTE $0x2c; BYTE $0x0e // TILESTORED T5, (R14)(CX*1)

// Eight tiles of 16 rows of 64 bytes.
DATA tileShape<>+0(SB)/8, $1
DATA tileShape<>+8(SB)/8, $0
DATA tileShape<>+16(SB)/8, $0x0040004000400040
DATA tileShape<>+24(SB)/8, $0x0040004000400040
DATA tileShape<>+32(SB)/8, $0
DATA tileShape<>+40(SB)/8, $0
DATA tileShape<>+48(SB)/8, $0x1010101010101010
DATA tileShape<>+56(SB)/8, $0
GLOBL tileShape<>(SB), RODATA|NOPTR, $64

// AHEAD4 asks for a line of four rows at R15, as far apart as 88(R8) says.
#define AHEAD4 \
	MOVQ       88(R8), R14 \
	PREFETCHT1 (R15) \
	PREFETCHT1 (R15)(R14*1) \
	PREFETCHT1 (R15)(R14*2) \
	ADDQ       $64, R15

// func tileProducts(run *tileRun)
TEXT ·tileProducts(SB), NOSPLIT, $32-8
	MOVQ run+0(FP), R8
	MOVQ 0(R8), SI // a
	MOVQ SI, a-8(SP)
	MOVQ 24(R8), SI // rows
	MOVQ SI, rows-16(SP)
	MOVQ 8(R8), SI // b
	MOVQ SI, b-24(SP)
	MOVQ 80(R8), SI // next
	MOVQ SI, next-32(SP)
	LEAQ tileShape<>(SB), AX
	CONFIGURE
	MOVQ 16(R8), AX  // stride
	MOVQ 32(R8), R11 // along
	MOVQ 96(R8), R12 // kept
	MOVQ $64, CX
	MOVQ 56(R8), R9  // pairs
	MOVQ 64(R8), R10 // c

block:
	MOVQ R10, SI
	CMPQ 72(R8), $0 // adds
	JNE  further
	ZERO(0xc0)
	ZERO(0xc8)
	ZERO(0xd0)
	ZERO(0xd8)
	JMP  begin

further:
	LOAD(0x04)
	ADDQ $1024, SI
	LOAD(0x0c)
	ADDQ $1024, SI
	LOAD(0x14)
	ADDQ $1024, SI
	LOAD(0x1c)

begin:
	MOVQ a-8(SP), SI
	MOVQ rows-16(SP), DI
	ADDQ SI, DI
	MOVQ b-24(SP), BX
	MOVQ 40(R8), DX  // across
	ADDQ BX, DX
	MOVQ 48(R8), R13 // steps
	MOVQ next-32(SP), R15
	TESTQ R12, R12
	JZ   step
	MOVQ 104(R8), R14 // keptRows
	ADDQ R12, R14

keep:
	LOADA0
	LOADB0
	DOT00
	KEEPA0
	LOADB1
	DOT01
	LOADA1
	DOT10
	KEEPA1
	DOT11
	ADDQ R11, SI
	ADDQ R11, DI
	ADDQ $1024, BX
	ADDQ $1024, DX
	ADDQ $1024, R12
	ADDQ $1024, R14
	DECQ R13
	JNZ  keep

	// what was kept is A from now on
	MOVQ 96(R8), R12
	MOVQ R12, a-8(SP)
	MOVQ 104(R8), R12
	MOVQ R12, rows-16(SP)
	MOVQ $64, AX
	MOVQ $1024, R11
	XORQ R12, R12
	JMP  done

step:
	LOADA0
	LOADB0
	DOT00
	LOADB1
	DOT01
	LOADA1
	DOT10
	DOT11
	ADDQ R11, SI
	ADDQ R11, DI
	ADDQ $1024, BX
	ADDQ $1024, DX
	AHEAD4
	DECQ R13
	JNZ  step
	MOVQ 88(R8), DX
	LEAQ (DX)(DX*2), DX
	ADDQ DX, next-32(SP)

done:
	MOVQ R10, SI
	KEEP(0x04)
	ADDQ $1024, SI
	KEEP(0x0c)
	ADDQ $1024, SI
	KEEP(0x14)
	ADDQ $1024, SI
	KEEP(0x1c)
	ADDQ $4096, R10
	MOVQ 40(R8), DX
	SHLQ $1, DX
	ADDQ DX, b-24(SP)
	DECQ R9
	JNZ  block
	RELEASE
	RET

// func tileColumn(run *tileRun)
TEXT ·tileColumn(SB), NOSPLIT, $0-8
	MOVQ run+0(FP), R8
	LEAQ tileShape<>(SB), AX
	CONFIGURE
	MOVQ 16(R8), AX // stride
	MOVQ $64, CX
	MOVQ 64(R8), SI // c
	CMPQ 72(R8), $0 // adds
	JNE  further
	ZERO(0xc0)
	ZERO(0xd0)
	JMP  begin

further:
	LOAD(0x04)
	ADDQ $1024, SI
	LOAD(0x14)

begin:
	MOVQ 0(R8), SI
	MOVQ 24(R8), DI
	ADDQ SI, DI
	MOVQ 8(R8), BX   // b
	MOVQ 32(R8), R11 // along
	MOVQ 48(R8), R13 // steps
	MOVQ 80(R8), R15 // next

step:
	LOADB0
	LOADA0
	DOT00
	LOADA1
	DOT10
	ADDQ R11, SI
	ADDQ R11, DI
	ADDQ $1024, BX
	MOVQ $8, R9

ahead:
	PREFETCHT1 (R15)
	PREFETCHT1 64(R15)
	PREFETCHT1 128(R15)
	PREFETCHT1 192(R15)
	ADDQ $256, R15
	DECQ R9
	JNZ  ahead
	DECQ R13
	JNZ  step

	MOVQ 64(R8), SI
	KEEP(0x04)
	ADDQ $1024, SI
	KEEP(0x14)
	RELEASE
	RET

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
