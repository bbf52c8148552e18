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

// EIGHT adds the products of four words of each of eight rows, the first at AX,
// with those of a at DI; they lie bytes on. Rows r and r+4 share a register, are
// transposed within its halves, and each word is one multiply-add of all rows.
#define EIGHT(bytes, sum) \
	VMOVUPS      bytes(AX), X2 \
	VMOVUPS      bytes(AX)(BX*1), X3 \
	VMOVUPS      bytes(AX)(BX*2), X4 \
	VMOVUPS      bytes(AX)(CX*1), X5 \
	VINSERTF128  $1, bytes(R10), Y2, Y2 \
	VINSERTF128  $1, bytes(R10)(BX*1), Y3, Y3 \
	VINSERTF128  $1, bytes(R10)(BX*2), Y4, Y4 \
	VINSERTF128  $1, bytes(R10)(CX*1), Y5, Y5 \
	VUNPCKLPS    Y3, Y2, Y6 \
	VUNPCKHPS    Y3, Y2, Y7 \
	VUNPCKLPS    Y5, Y4, Y8 \
	VUNPCKHPS    Y5, Y4, Y9 \
	VUNPCKLPD    Y8, Y6, Y2 \
	VUNPCKHPD    Y8, Y6, Y3 \
	VUNPCKLPD    Y9, Y7, Y4 \
	VUNPCKHPD    Y9, Y7, Y5 \
	VBROADCASTSS bytes+0(DI), Y6 \
	VBROADCASTSS bytes+4(DI), Y7 \
	VBROADCASTSS bytes+8(DI), Y8 \
	VBROADCASTSS bytes+12(DI), Y9 \
	VFMADD231PS  Y2, Y6, sum \
	VFMADD231PS  Y3, Y7, sum \
	VFMADD231PS  Y4, Y8, sum \
	VFMADD231PS  Y5, Y9, sum

// AHEAD asks for four cache lines at R9.
#define AHEAD \
	PREFETCHT1 (R9) \
	PREFETCHT1 64(R9) \
	PREFETCHT1 128(R9) \
	PREFETCHT1 192(R9) \
	ADDQ       $256, R9

// NONE asks for nothing.
#define NONE

// LINE adds the products of a cache line, 16 words, of each of eight rows.
#define LINE(sum, ahead) \
	LEAQ (AX)(BX*4), R10 \
	EIGHT(0, sum) \
	ahead \
	EIGHT(16, sum) \
	ahead \
	EIGHT(32, sum) \
	ahead \
	EIGHT(48, sum) \
	ahead

// SUMS is sumQuads, whose arguments are in DI, SI, BX, DX and R11.
#define SUMS(ahead) \
	LEAQ    (BX)(BX*2), CX \
	VMOVUPS (R11), Y0 \
	VMOVUPS 32(R11), Y1 \
	SUBQ    $4, DX \
	JLT     rest \
line: \
	MOVQ SI, AX \
	LINE(Y0, ahead) \
	LEAQ (AX)(BX*8), AX \
	LINE(Y1, NONE) \
	ADDQ $64, SI \
	ADDQ $64, DI \
	SUBQ $4, DX \
	JGE  line \
rest: \
	ADDQ $4, DX \
	JZ   done \
quad: \
	MOVQ SI, AX \
	LEAQ (AX)(BX*4), R10 \
	EIGHT(0, Y0) \
	LEAQ (AX)(BX*8), AX \
	LEAQ (AX)(BX*4), R10 \
	EIGHT(0, Y1) \
	ADDQ $16, SI \
	ADDQ $16, DI \
	DECQ DX \
	JNZ  quad \
done: \
	VMOVUPS Y0, (R11) \
	VMOVUPS Y1, 32(R11) \
	VZEROUPPER \
	RET

// func sumQuads(a, b *float32, stride uintptr, quads int, sums *[16]float32)
TEXT ·sumQuads(SB), NOSPLIT, $0-40
	MOVQ a+0(FP), DI
	MOVQ b+8(FP), SI
	MOVQ stride+16(FP), BX
	MOVQ quads+24(FP), DX
	MOVQ sums+32(FP), R11
	SUMS(NONE)

// func sumQuadsAhead(a, b *float32, stride uintptr, quads int, sums *[16]float32, next *float32)
TEXT ·sumQuadsAhead(SB), NOSPLIT, $0-48
	MOVQ a+0(FP), DI
	MOVQ b+8(FP), SI
	MOVQ stride+16(FP), BX
	MOVQ quads+24(FP), DX
	MOVQ sums+32(FP), R11
	MOVQ next+40(FP), R9
	SUMS(AHEAD)

// QUAD loads a cache line, 16 words, of each of four rows at AX and transposes
// within groups of four lanes: afterwards lane group l of the register j holds
// word 4l+j of the four rows.
#define QUAD(a, b, c, d) \
	VMOVDQU32   (AX), a \
	VMOVDQU32   (AX)(BX*1), b \
	VMOVDQU32   (AX)(BX*2), c \
	VMOVDQU32   (AX)(CX*1), d \
	PREFETCHT1  (AX)(R8*1) \
	PREFETCHT1  (R9) \
	PREFETCHT1  (R9)(BX*1) \
	PREFETCHT1  (R9)(BX*2) \
	LEAQ        (AX)(BX*4), AX \
	LEAQ        (R9)(BX*4), R9 \
	VPUNPCKLDQ  b, a, Z17 \
	VPUNPCKHDQ  b, a, Z18 \
	VPUNPCKLDQ  d, c, Z19 \
	VPUNPCKHDQ  d, c, Z20 \
	VPUNPCKLQDQ Z19, Z17, a \
	VPUNPCKHQDQ Z19, Z17, b \
	VPUNPCKLQDQ Z20, Z18, c \
	VPUNPCKHQDQ Z20, Z18, d

// LANES transposes the lane groups of the four quads' registers j: afterwards
// they hold words j, 4+j, 8+j and 12+j of all sixteen rows.
#define LANES(a, b, c, d) \
	VSHUFI32X4 $0x44, b, a, Z17 \
	VSHUFI32X4 $0xEE, b, a, Z18 \
	VSHUFI32X4 $0x44, d, c, Z19 \
	VSHUFI32X4 $0xEE, d, c, Z20 \
	VSHUFI32X4 $0x88, Z19, Z17, a \
	VSHUFI32X4 $0xDD, Z19, Z17, b \
	VSHUFI32X4 $0x88, Z20, Z18, c \
	VSHUFI32X4 $0xDD, Z20, Z18, d

// DOT is VDPBF16PS.BCST 4*word(DI), Z(word+1), Z0, which the assembler does not
// know.
#define DOT(source, upper, word) \
	BYTE $0x62; BYTE $0xF2; BYTE $source; BYTE $upper; BYTE $0x52; BYTE $0x47; BYTE $word

// func dotLines(a, b *uint16, stride uintptr, lines int, sums *[16]float32, ahead uintptr)
TEXT ·dotLines(SB), NOSPLIT, $0-48
	MOVQ      a+0(FP), DI
	MOVQ      b+8(FP), SI
	MOVQ      stride+16(FP), BX
	MOVQ      lines+24(FP), DX
	MOVQ      sums+32(FP), R10
	MOVQ      ahead+40(FP), R8
	LEAQ      (BX)(BX*2), CX
	VMOVUPS   (R10), Z0

line:
	MOVQ SI, AX
	LEAQ (SI)(R8*1), R9
	ADDQ BX, R9
	QUAD(Z1, Z2, Z3, Z4)
	QUAD(Z5, Z6, Z7, Z8)
	QUAD(Z9, Z10, Z11, Z12)
	QUAD(Z13, Z14, Z15, Z16)
	LANES(Z1, Z5, Z9, Z13)
	LANES(Z2, Z6, Z10, Z14)
	LANES(Z3, Z7, Z11, Z15)
	LANES(Z4, Z8, Z12, Z16)
	DOT(0x76, 0x58, 0)
	DOT(0x6E, 0x58, 1)
	DOT(0x66, 0x58, 2)
	DOT(0x5E, 0x58, 3)
	DOT(0x56, 0x58, 4)
	DOT(0x4E, 0x58, 5)
	DOT(0x46, 0x58, 6)
	DOT(0x3E, 0x58, 7)
	DOT(0x36, 0x58, 8)
	DOT(0x2E, 0x58, 9)
	DOT(0x26, 0x58, 10)
	DOT(0x1E, 0x58, 11)
	DOT(0x16, 0x58, 12)
	DOT(0x0E, 0x58, 13)
	DOT(0x06, 0x58, 14)
	DOT(0x7E, 0x50, 15)
	ADDQ $64, SI
	ADDQ $64, DI
	DECQ DX
	JNZ  line

	VMOVUPS Z0, (R10)
	VZEROUPPER
	RET
