//go:build goexperiment.simd

#include "textflag.h"

// VDPBF16PS, which Go's assembler does not know: to register d are added the products of
// the pairs of registers b and a, that of odd place first.
#define DOT(d, b, a) \
	BYTE $0x62; \
	BYTE $(0x02 + (((d)/8%2)^1)*128 + (((a)/16%2)^1)*64 + (((a)/8%2)^1)*32 + (((d)/16%2)^1)*16); \
	BYTE $(0x06 + (((b)%16)^15)*8); \
	BYTE $(0x40 + (((b)/16%2)^1)*8); \
	BYTE $0x52; \
	BYTE $(0xc0 + (d)%8*8 + (a)%8)

// ROW multiplies a pair of values of one row, at address at, by pairs of 32 columns in
// registers 16 and 17.
#define ROW(at, z, left, right, by) \
	VPBROADCASTD at, z \
	DOT(left, 16, by) \
	DOT(right, 17, by)

#define PAIR(n) \
	VMOVDQU32 (64*n)(BX), Z16 \
	VMOVDQU32 (64*n)(DX), Z17 \
	ROW((4*n)(SI), Z18, 0, 8, 18) \
	ROW((4*n)(SI)(AX*1), Z19, 1, 9, 19) \
	ROW((4*n)(SI)(AX*2), Z20, 2, 10, 20) \
	ROW((4*n)(SI)(R11*1), Z21, 3, 11, 21) \
	ROW((4*n)(SI)(AX*4), Z22, 4, 12, 22) \
	ROW((4*n)(SI)(R12*1), Z23, 5, 13, 23) \
	ROW((4*n)(SI)(R11*2), Z24, 6, 14, 24) \
	ROW((4*n)(SI)(R13*1), Z25, 7, 15, 25)

// SUMS moves sixteen registers, of which the second eight lie apart from the first: TILE
// bytes where they are other columns, EIGHT where they are other rows.
#define TILE 1024
#define EIGHT 512
#define SUMS(move, apart) \
	move(0, apart, Z0, Z8) \
	move(1, apart, Z1, Z9) \
	move(2, apart, Z2, Z10) \
	move(3, apart, Z3, Z11) \
	move(4, apart, Z4, Z12) \
	move(5, apart, Z5, Z13) \
	move(6, apart, Z6, Z14) \
	move(7, apart, Z7, Z15)

#define CLEAR(n, apart, first, second) \
	VPXORQ first, first, first \
	VPXORQ second, second, second

#define LOAD(n, apart, first, second) \
	VMOVUPS (64*n)(DI), first \
	VMOVUPS (apart+64*n)(DI), second

#define STORE(n, apart, first, second) \
	VMOVUPS first, (64*n)(DI) \
	VMOVUPS second, (apart+64*n)(DI)

// func dotProducts(run *tileRun)
TEXT ·dotProducts(SB), NOSPLIT, $40-8
	MOVQ run+0(FP), R8
	MOVQ 16(R8), AX // stride
	LEAQ (AX)(AX*2), R11
	LEAQ (AX)(AX*4), R12
	LEAQ (R11)(AX*4), R13
	MOVQ 8(R8), R9
	MOVQ R9, b-8(SP)
	MOVQ 64(R8), DI // c
	MOVQ 56(R8), R9
	MOVQ R9, pairs-16(SP)
	MOVQ 80(R8), R9 // next
	MOVQ R9, next-40(SP)

pair:
	MOVQ DI, c-24(SP)
	MOVQ 0(R8), R10 // a
	MOVQ R10, a-32(SP)
	MOVQ $0, R15    // row

rows:
	CMPQ 72(R8), $0  // adds
	JNE  further
	SUMS(CLEAR, TILE)
	JMP  begin

further:
	SUMS(LOAD, TILE)

begin:
	MOVQ R10, SI
	MOVQ b-8(SP), BX
	MOVQ 40(R8), DX // across
	ADDQ BX, DX
	MOVQ 48(R8), R9 // steps
	MOVQ next-40(SP), R14

step:
	PREFETCHT1 (R14)
	ADDQ $64, R14
	MOVQ $4, CX

four:
	PAIR(0)
	PAIR(1)
	PAIR(2)
	PAIR(3)
	ADDQ $16, SI
	ADDQ $256, BX
	ADDQ $256, DX
	DECQ CX
	JNZ  four
	ADDQ 32(R8), SI // along
	SUBQ $64, SI
	DECQ R9
	JNZ  step

	SUMS(STORE, TILE)
	MOVQ 88(R8), R14 // apart
	ADDQ R14, next-40(SP)
	ADDQ $512, DI
	LEAQ (R10)(AX*8), R10
	ADDQ $8, R15
	CMPQ R15, 112(R8) // wanted
	JGE  done
	CMPQ R15, $16
	JNE  rows
	ADDQ $1024, DI
	MOVQ a-32(SP), R10
	ADDQ 24(R8), R10 // rows
	JMP  rows

done:
	MOVQ c-24(SP), DI
	ADDQ $4096, DI
	MOVQ 40(R8), DX
	SHLQ $1, DX
	ADDQ DX, b-8(SP)
	DECQ pairs-16(SP)
	JNZ  pair
	VZEROUPPER
	RET

// KEEP copies a line of each of four rows from SI to R10.
#define KEEP \
	VMOVDQU32 (SI), Z16 \
	VMOVDQU32 (SI)(AX*1), Z17 \
	VMOVDQU32 (SI)(AX*2), Z18 \
	VMOVDQU32 (SI)(R11*1), Z19 \
	VMOVDQU32 Z16, (R10) \
	VMOVDQU32 Z17, 64(R10) \
	VMOVDQU32 Z18, 128(R10) \
	VMOVDQU32 Z19, 192(R10) \
	LEAQ      (SI)(AX*4), SI \
	ADDQ      $256, R10

// EACH multiplies a pair of values of row r by pairs of 16 columns in register 16.
#define EACH(n, r, z, by) \
	VPBROADCASTD (64*r+4*n)(SI), z \
	DOT(r, 16, by)

#define COLUMN(n) \
	VMOVDQU32 (64*n)(BX), Z16 \
	EACH(n, 0, Z18, 18) \
	EACH(n, 1, Z19, 19) \
	EACH(n, 2, Z20, 20) \
	EACH(n, 3, Z21, 21) \
	EACH(n, 4, Z22, 22) \
	EACH(n, 5, Z23, 23) \
	EACH(n, 6, Z24, 24) \
	EACH(n, 7, Z25, 25) \
	EACH(n, 8, Z18, 18) \
	EACH(n, 9, Z19, 19) \
	EACH(n, 10, Z20, 20) \
	EACH(n, 11, Z21, 21) \
	EACH(n, 12, Z22, 22) \
	EACH(n, 13, Z23, 23) \
	EACH(n, 14, Z24, 24) \
	EACH(n, 15, Z25, 25) \
	PREFETCHT1 (64*n)(R15)

// func dotColumn(run *tileRun)
TEXT ·dotColumn(SB), NOSPLIT, $16-8
	MOVQ run+0(FP), R8
	MOVQ 16(R8), AX // stride
	LEAQ (AX)(AX*2), R11
	MOVQ 64(R8), DI  // c
	MOVQ 0(R8), DX   // a
	MOVQ 112(R8), R9 // wanted
	MOVQ 80(R8), R15 // next

sixteen:
	MOVQ DX, a-8(SP)
	CMPQ 72(R8), $0 // adds
	JNE  further
	SUMS(CLEAR, EIGHT)
	JMP  begin

further:
	SUMS(LOAD, EIGHT)

begin:
	MOVQ 8(R8), BX   // b
	MOVQ 48(R8), R14 // steps

step:
	MOVQ DX, SI
	MOVQ 96(R8), R10 // kept
	KEEP
	KEEP
	KEEP
	KEEP
	MOVQ 96(R8), SI
	MOVQ $4, CX

four:
	COLUMN(0)
	COLUMN(1)
	COLUMN(2)
	COLUMN(3)
	ADDQ $16, SI
	ADDQ $256, BX
	ADDQ $256, R15
	DECQ CX
	JNZ  four
	ADDQ 32(R8), DX // along
	DECQ R14
	JNZ  step

	SUMS(STORE, EIGHT)
	ADDQ $1024, DI
	MOVQ a-8(SP), DX
	ADDQ 24(R8), DX // rows
	SUBQ $16, R9
	JG   sixteen
	VZEROUPPER
	RET
