package cpu

import "os"

// Start is New with the kernels that COPPICE_KERNELS names, where the options name none.
func Start(opt Options) (*Engine, error) {
	if opt.Kernels == "" {
		opt.Kernels = os.Getenv("COPPICE_KERNELS")
	}
	return New(opt)
}

// RoundInputs makes an engine in bfloat16 mode round matrix inputs as it does
// on processors with bfloat16 products.
func RoundInputs(e *Engine) { e.round = !e.half }

// Tiled reports whether an engine multiplies by tiles.
func Tiled(e *Engine) bool { return e.tiled() }

// FloatAttention makes an engine compute attention in float32 where tiles multiply; it
// reports whether there are any.
func FloatAttention(e *Engine) bool {
	tiled := e.tiled()
	k := *e.k
	k.tiles, e.k = noTiles, &k
	return tiled
}

// SetCrew makes so many of an engine's workers make calls of few rows, and only them.
func SetCrew(e *Engine, workers int) { e.crew = &crew{sizes: []int{workers}} }
