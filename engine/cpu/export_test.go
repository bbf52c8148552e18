package cpu

// RoundInputs makes an engine in bfloat16 mode round matrix inputs as it does
// on processors with bfloat16 products.
func RoundInputs(e *Engine) { e.round = !e.half }
