//go:build goexperiment.simd

#include "textflag.h"

// Rows of scores lie as tileProducts leaves sums: of 32 keys sixteen in one tile, sixteen
// in the next, those of the next 32 keys 4096 bytes on.

// HALVES makes Z10 of two vectors rounded to bfloat16 (VCVTNE2PS2BF16): Z4 and Z5 are 0x57
// and 0xd4.
#define HALVES(hi, lo) BYTE $0x62; BYTE $0x72; BYTE $hi; BYTE $0x48; BYTE $0x72; BYTE $lo

DATA expTable<>+0(SB)/4, $0xff800000  // -Inf
DATA expTable<>+4(SB)/4, $0xc2aeac4f  // expLow
DATA expTable<>+8(SB)/4, $0x3fb8aa3b  // log2e
DATA expTable<>+12(SB)/4, $0x4b400000 // expMagic
DATA expTable<>+16(SB)/4, $0x3f318000 // ln2High
DATA expTable<>+20(SB)/4, $0xb95e8083 // ln2Low
DATA expTable<>+24(SB)/4, $0x39506967 // exp5 to exp0
DATA expTable<>+28(SB)/4, $0x3ab743ce
DATA expTable<>+32(SB)/4, $0x3c088908
DATA expTable<>+36(SB)/4, $0x3d2aa9c1
DATA expTable<>+40(SB)/4, $0x3e2aaaaa
DATA expTable<>+44(SB)/4, $0x3f000000
DATA expTable<>+48(SB)/4, $0x3f800000 // 1
DATA expTable<>+52(SB)/4, $0x42a00000 // 80
GLOBL expTable<>(SB), RODATA|NOPTR, $56

// VISIBLE makes of the first key that is seen and the one behind the last, counted from
// these 32, masks: of all in DX, of the first sixteen in low, the others in high.
#define VISIBLE(from, to, low, high) \
	MOVQ    $0, CX \
	MOVQ    $32, R11 \
	CMPQ    to, $0 \
	CMOVQGT to, CX \
	CMPQ    CX, R11 \
	CMOVQGT R11, CX \
	MOVQ    $-1, DX \
	BZHIQ   CX, DX, DX \
	MOVQ    $0, CX \
	CMPQ    from, $0 \
	CMOVQGT from, CX \
	CMPQ    CX, R11 \
	CMOVQGT R11, CX \
	SHRXQ   CX, DX, DX \
	SHLXQ   CX, DX, DX \
	KMOVW   DX, low \
	MOVQ    DX, CX \
	SHRQ    $16, CX \
	KMOVW   CX, high

// func tileRowMax(scores unsafe.Pointer, from, to int) float32
TEXT ·tileRowMax(SB), NOSPLIT, $0-28
	MOVQ         scores+0(FP), SI
	MOVQ         from+8(FP), R8
	MOVQ         to+16(FP), R9
	VBROADCASTSS expTable<>+0(SB), Z0
	VMOVAPS      Z0, Z1
	MOVQ         R8, AX
	ANDQ         $~31, AX
	SUBQ         AX, R8
	SUBQ         AX, R9
	SHLQ         $7, AX
	ADDQ         AX, SI

pair:
	CMPQ   R9, $0
	JLE    reduce
	VISIBLE(R8, R9, K1, K2)
	VMAXPS (SI), Z0, K1, Z0
	VMAXPS 1024(SI), Z1, K2, Z1
	ADDQ   $4096, SI
	SUBQ   $32, R8
	SUBQ   $32, R9
	JMP    pair

reduce:
	VMAXPS        Z1, Z0, Z0
	VEXTRACTF64X4 $1, Z0, Y1
	VMAXPS        Y1, Y0, Y0
	VEXTRACTF128  $1, Y0, X1
	VMAXPS        X1, X0, X0
	VPERMILPS     $0x4e, X0, X1
	VMAXPS        X1, X0, X0
	VPERMILPS     $0xb1, X0, X1
	VMAXPS        X1, X0, X0
	VMOVSS        X0, ret+24(FP)
	VZEROUPPER
	RET

#define EXPTABLE \
	VBROADCASTSS expTable<>+12(SB), Z18 \
	VBROADCASTSS expTable<>+8(SB), Z19 \
	VBROADCASTSS expTable<>+16(SB), Z20 \
	VBROADCASTSS expTable<>+20(SB), Z21 \
	VBROADCASTSS expTable<>+24(SB), Z22 \
	VBROADCASTSS expTable<>+28(SB), Z23 \
	VBROADCASTSS expTable<>+32(SB), Z24 \
	VBROADCASTSS expTable<>+36(SB), Z25 \
	VBROADCASTSS expTable<>+40(SB), Z26 \
	VBROADCASTSS expTable<>+44(SB), Z27 \
	VBROADCASTSS expTable<>+48(SB), Z28 \
	VBROADCASTSS expTable<>+4(SB), Z29

// EXP makes of x its exponential where K has it and it is not far below zero, 0 elsewhere,
// as exp512 does. n, p, q and k are for it to use.
#define EXP(x, n, p, q, K, k) \
	VCMPPS       $5, Z29, x, K, k \
	VMOVAPS      x, n \
	VFMADD213PS  Z18, Z19, n \
	VSUBPS       Z18, n, n \
	VFNMADD231PS Z20, n, x \
	VFNMADD231PS Z21, n, x \
	VMOVAPS      Z22, p \
	VFMADD213PS  Z23, x, p \
	VFMADD213PS  Z24, x, p \
	VFMADD213PS  Z25, x, p \
	VFMADD213PS  Z26, x, p \
	VFMADD213PS  Z27, x, p \
	VMULPS       x, x, q \
	VFMADD213PS  x, q, p \
	VADDPS       Z28, p, p \
	VSCALEFPS.Z  n, p, k, p

// func tileRowExp(probs, scores unsafe.Pointer, pairs, from, to int, scale, top float32) float32
TEXT ·tileRowExp(SB), NOSPLIT, $0-52
	MOVQ         probs+0(FP), DI
	MOVQ         scores+8(FP), SI
	MOVQ         pairs+16(FP), BX
	MOVQ         from+24(FP), R8
	MOVQ         to+32(FP), R9
	VBROADCASTSS scale+40(FP), Z16
	VBROADCASTSS top+44(FP), Z17
	EXPTABLE
	VPXORQ       Z8, Z8, Z8
	VPXORQ       Z9, Z9, Z9
	VPXORQ       Z11, Z11, Z11

pair:
	VISIBLE(R8, R9, K1, K2)
	TESTQ  DX, DX
	JZ     hidden
	VMOVUPS     (SI), Z0
	VMOVUPS     1024(SI), Z1
	VFMSUB213PS Z17, Z16, Z0
	VFMSUB213PS Z17, Z16, Z1
	EXP(Z0, Z2, Z4, Z6, K1, K3)
	EXP(Z1, Z3, Z5, Z7, K2, K4)
	VADDPS Z4, Z8, Z8
	VADDPS Z5, Z9, Z9
	HALVES(0x57, 0xd4)
	VMOVDQU64 Z10, (DI)
	JMP    next

hidden:
	VMOVDQU64 Z11, (DI)

next:
	ADDQ $1024, DI
	ADDQ $4096, SI
	SUBQ $32, R8
	SUBQ $32, R9
	DECQ BX
	JNZ  pair

	VADDPS        Z9, Z8, Z0
	VEXTRACTF64X4 $1, Z0, Y1
	VADDPS        Y1, Y0, Y0
	VEXTRACTF128  $1, Y0, X1
	VADDPS        X1, X0, X0
	VPERMILPS     $0x4e, X0, X1
	VADDPS        X1, X0, X0
	VPERMILPS     $0xb1, X0, X1
	VADDPS        X1, X0, X0
	VMOVSS        X0, ret+48(FP)
	VZEROUPPER
	RET

// func scaleTileRow(row unsafe.Pointer, pairs int, factor float32)
TEXT ·scaleTileRow(SB), NOSPLIT, $0-20
	MOVQ         row+0(FP), SI
	MOVQ         pairs+8(FP), BX
	VBROADCASTSS factor+16(FP), Z16

pair:
	VMULPS  (SI), Z16, Z0
	VMULPS  1024(SI), Z16, Z1
	VMOVUPS Z0, (SI)
	VMOVUPS Z1, 1024(SI)
	ADDQ    $4096, SI
	DECQ    BX
	JNZ     pair
	VZEROUPPER
	RET

// func packTileRow(dst, row unsafe.Pointer, pairs int, factor float32)
TEXT ·packTileRow(SB), NOSPLIT, $0-28
	MOVQ         dst+0(FP), DI
	MOVQ         row+8(FP), SI
	MOVQ         pairs+16(FP), BX
	VBROADCASTSS factor+24(FP), Z16

pair:
	VMULPS (SI), Z16, Z4
	VMULPS 1024(SI), Z16, Z5
	HALVES(0x57, 0xd4)
	VMOVDQU64 Z10, (DI)
	ADDQ   $64, DI
	ADDQ   $4096, SI
	DECQ   BX
	JNZ    pair
	VZEROUPPER
	RET

DATA pairTable<>+0(SB)/8, $0x0011000100100000
DATA pairTable<>+8(SB)/8, $0x0013000300120002
DATA pairTable<>+16(SB)/8, $0x0015000500140004
DATA pairTable<>+24(SB)/8, $0x0017000700160006
DATA pairTable<>+32(SB)/8, $0x0019000900180008
DATA pairTable<>+40(SB)/8, $0x001b000b001a000a
DATA pairTable<>+48(SB)/8, $0x001d000d001c000c
DATA pairTable<>+56(SB)/8, $0x001f000f001e000e
GLOBL pairTable<>(SB), RODATA|NOPTR, $64

// func tileRowsBack(row *tileBack)
TEXT ·tileRowsBack(SB), NOSPLIT, $8-8
	MOVQ         row+0(FP), AX
	MOVQ         56(AX), R8         // from
	MOVQ         72(AX), R9         // to
	MOVQ         64(AX), R12
	MOVQ         80(AX), R13
	VBROADCASTSS 104(AX), Z16       // inner
	VBROADCASTSS 88(AX), Z17        // less
	VBROADCASTSS 92(AX), Z14
	VBROADCASTSS 96(AX), Z30        // delta
	VBROADCASTSS 100(AX), Z15
	VBROADCASTSS 108(AX), Z31       // scale
	VMOVDQU64    pairTable<>(SB), Z11
	EXPTABLE
	MOVQ         0(AX), SI          // scores
	MOVQ         8(AX), R10         // dots
	MOVQ         16(AX), DI         // probs
	MOVQ         24(AX), BX         // ds
	MOVQ         40(AX), R15        // acrossBlocks
	MOVQ         48(AX), CX         // pairs
	MOVQ         CX, pairs-8(SP)
	MOVQ         32(AX), AX         // rows

pair:
	VISIBLE(R8, R9, K1, K2)
	MOVQ  DX, R14
	VISIBLE(R12, R13, K3, K4)
	ORQ   DX, R14
	JZ    hidden
	VMOVUPS     (SI), Z0
	VMOVUPS     1024(SI), Z1
	VFMSUB213PS Z17, Z16, Z0
	VFMSUB213PS Z17, Z16, Z1
	EXP(Z0, Z2, Z4, Z6, K1, K5)
	EXP(Z1, Z3, Z5, Z7, K2, K6)
	VMOVUPS     64(SI), Z0
	VMOVUPS     1088(SI), Z1
	VFMSUB213PS Z14, Z16, Z0
	VFMSUB213PS Z14, Z16, Z1
	EXP(Z0, Z2, Z8, Z6, K3, K5)
	EXP(Z1, Z3, Z9, Z7, K4, K6)
	HALVES(0x3f, 0xd4) // Z8, Z4
	VPERMW      Z10, Z11, Z10
	VMOVDQU64   Z10, (DI)
	HALVES(0x37, 0xd5) // Z9, Z5
	VPERMW      Z10, Z11, Z10
	VMOVDQU64   Z10, (DI)(R15*1)
	VMOVUPS     (R10), Z0
	VMOVUPS     1024(R10), Z1
	VMOVUPS     64(R10), Z2
	VMOVUPS     1088(R10), Z3
	VSUBPS      Z30, Z0, Z0
	VSUBPS      Z30, Z1, Z1
	VSUBPS      Z15, Z2, Z2
	VSUBPS      Z15, Z3, Z3
	VMULPS      Z4, Z0, Z0
	VMULPS      Z5, Z1, Z1
	VMULPS      Z8, Z2, Z2
	VMULPS      Z9, Z3, Z3
	VMULPS.Z    Z31, Z0, K1, Z0
	VMULPS.Z    Z31, Z1, K2, Z1
	VMULPS.Z    Z31, Z2, K3, Z2
	VMULPS.Z    Z31, Z3, K4, Z3
	HALVES(0x6f, 0xd0) // Z2, Z0
	VPERMW      Z10, Z11, Z10
	VMOVDQU64   Z10, (BX)
	HALVES(0x67, 0xd1) // Z3, Z1
	VPERMW      Z10, Z11, Z10
	VMOVDQU64   Z10, (BX)(R15*1)
	HALVES(0x77, 0xd0) // Z1, Z0
	VMOVDQU64   Z10, (AX)
	HALVES(0x67, 0xd2) // Z3, Z2
	VMOVDQU64   Z10, 64(AX)
	JMP         next

hidden:
	VPXORQ    Z10, Z10, Z10
	VMOVDQU64 Z10, (DI)
	VMOVDQU64 Z10, (DI)(R15*1)
	VMOVDQU64 Z10, (BX)
	VMOVDQU64 Z10, (BX)(R15*1)
	VMOVDQU64 Z10, (AX)
	VMOVDQU64 Z10, 64(AX)

next:
	ADDQ $4096, SI
	ADDQ $4096, R10
	LEAQ (DI)(R15*2), DI
	LEAQ (BX)(R15*2), BX
	ADDQ $1024, AX
	SUBQ $32, R8
	SUBQ $32, R9
	SUBQ $32, R12
	SUBQ $32, R13
	DECQ pairs-8(SP)
	JNZ  pair
	VZEROUPPER
	RET

// func packRows(dst, src unsafe.Pointer, rows, pairs int, stride uintptr)
TEXT ·packRows(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), R8
	MOVQ rows+16(FP), DX
	MOVQ stride+32(FP), AX

row:
	MOVQ R8, SI
	MOVQ pairs+24(FP), BX

pair:
	VMOVUPS   (SI), Z4
	VMOVUPS   64(SI), Z5
	HALVES(0x57, 0xd4)
	VMOVDQU64 Z10, (DI)
	ADDQ      $128, SI
	ADDQ      $64, DI
	DECQ      BX
	JNZ       pair
	ADDQ      AX, R8
	DECQ      DX
	JNZ       row
	VZEROUPPER
	RET

// SIGMOID makes p of the exponential of -z: 1 / (1 + p), by an approximation of 14 bits
// and a step of Newton's.
#define SIGMOID(p, r) \
	VADDPS       Z28, p, p \
	VRCP14PS     p, r \
	VFNMADD213PS Z15, r, p \
	VMULPS       r, p, p

// func gateTiles(dst, gate, up unsafe.Pointer, pairs int, linear, cubic float32)
TEXT ·gateTiles(SB), NOSPLIT, $0-40
	MOVQ         dst+0(FP), DI
	MOVQ         gate+8(FP), SI
	MOVQ         up+16(FP), AX
	MOVQ         pairs+24(FP), BX
	VBROADCASTSS linear+32(FP), Z16
	VBROADCASTSS cubic+36(FP), Z17
	EXPTABLE
	VADDPS       Z28, Z28, Z15
	VBROADCASTSS expTable<>+52(SB), Z30
	KXNORW       K1, K1, K1

pair:
	VMOVUPS      (SI), Z12
	VMOVUPS      64(SI), Z13
	VMULPS       Z12, Z17, Z0
	VMULPS       Z13, Z17, Z1
	VFMADD213PS  Z16, Z12, Z0 // linear + (cubic g) g
	VFMADD213PS  Z16, Z13, Z1
	VMULPS       Z12, Z0, Z0
	VMULPS       Z13, Z1, Z1
	VMINPS       Z0, Z30, Z0
	VMINPS       Z1, Z30, Z1
	EXP(Z0, Z2, Z4, Z6, K1, K3)
	EXP(Z1, Z3, Z5, Z7, K1, K4)
	SIGMOID(Z4, Z6)
	SIGMOID(Z5, Z7)
	VMULPS       Z12, Z4, Z4
	VMULPS       Z13, Z5, Z5
	VMULPS       (AX), Z4, Z4
	VMULPS       64(AX), Z5, Z5
	HALVES(0x57, 0xd4)
	VMOVDQU64    Z10, (DI)
	ADDQ         $128, SI
	ADDQ         $128, AX
	ADDQ         $64, DI
	DECQ         BX
	JNZ          pair
	VZEROUPPER
	RET
