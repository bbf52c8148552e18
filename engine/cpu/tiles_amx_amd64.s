//go:build goexperiment.simd && !tiles_emulated

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
