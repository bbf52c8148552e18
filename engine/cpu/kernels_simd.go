//go:build goexperiment.simd && amd64

package cpu

import (
	"simd/archsimd"

	"golang.org/x/sys/cpu"
)

// vectorKernels lists the variants that this processor can run, fastest first.
func vectorKernels() (ks []*kernels) {
	if archsimd.X86.AVX512() {
		if tilesAllowed() {
			ks = append(ks, tileKernels(levelAMX, amxTiles))
		}
		if cpu.X86.HasAVX512BF16 {
			ks = append(ks, tileKernels(levelBF16, dotTiles))
		}
		ks = append(ks, avx512Kernels())
	}
	if archsimd.X86.AVX2() && archsimd.X86.FMA() {
		ks = append(ks, avx2Kernels())
	}
	return ks
}

func avx512Kernels() *kernels {
	k := scalarKernels()
	k.name, k.backKernels = levelAVX512, backKernels512()
	k.mask = mask512
	k.sum, k.sumSquares, k.norm, k.add, k.minus, k.scale = sum512, sumSquares512, norm512, add512, minus512, scale512
	k.gate, k.gateReLU = gate512, gateReLU512
	k.rotate, k.rotatePairs = rotate512, rotatePairs512
	k.scaleMax, k.argmax, k.expSum, k.softCap = scaleMax512, argmax512, expSum512, softCap512
	k.pack, k.widen, k.widenHalf = pack512, widen512, widenHalf512
	if cpu.X86.HasAVX512BF16 {
		k.columnsHalf = columnsHalf512
	}
	k.products, k.productsPlain, k.narrow = products512, productsPlain512, narrowBy(byRows)
	k.columns, k.transpose = columnsBy(byRows), transpose
	return k
}

// tileKernels multiply bfloat16 beside.
func tileKernels(level string, unit tileUnit) *kernels {
	k := avx512Kernels()
	k.name, k.tiles, k.gateHalf = level, unit, gateHalves
	return k
}

// avx2Kernels leaves rounding to bfloat16 to Go: AVX2 cannot narrow integers.
func avx2Kernels() *kernels {
	k := scalarKernels()
	k.name, k.backKernels = "AVX2", backKernels256()
	k.several = severalRows
	k.sum, k.sumSquares, k.norm, k.add, k.minus, k.scale = sum256, sumSquares256, norm256, add256, minus256, scale256
	k.gate, k.gateReLU = gate256, gateReLU256
	k.rotate, k.rotatePairs = rotate256, rotatePairs256
	k.scaleMax, k.argmax, k.expSum, k.softCap = scaleMax256, argmax256, expSum256, softCap256
	k.widen, k.widenHalf = widen256, widenHalf256
	k.products, k.productsPlain, k.narrow = products256, productsPlain256, narrowBy(inOrder)
	k.columns, k.transpose = columnsBy(inOrder), transpose
	return k
}
