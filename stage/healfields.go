package stage

import (
	"fmt"
	"slices"

	"github.com/coppice-ml/coppice/heal"
)

// Unused lists the fields that the method does not use, given or not.
func (h Heal) Unused() (out []Unused) {
	only := map[string][]string{
		heal.Partial: {"last", "head", "norm", "embed", "train", "keep_tied", "untie"},
		heal.LoRA:    {"rank", "alpha", "dropout", "targets", "rslora", "lora_init"},
	}
	both := []string{"layers"} // of partial and of lora, not of full
	for _, method := range []string{heal.Partial, heal.LoRA} {
		if method == h.Method {
			continue
		}
		for _, f := range only[method] {
			out = append(out, Unused{f, fmt.Sprintf("method %s does not use it, %s does", h.Method, method)})
		}
	}
	if h.Method == heal.Full {
		for _, f := range both {
			out = append(out, Unused{f, "method full trains every tensor"})
		}
		out = slices.DeleteFunc(out, func(u Unused) bool { return u.Field == "untie" || u.Field == "keep_tied" })
	}
	if h.Method == heal.LoRA {
		out = append(out, Unused{"save_dtype", "adapters are written in float32"})
	}
	if h.Data.Tokens != "" {
		for _, f := range []string{"schema", "map", "template", "train_on", "max_length"} {
			out = append(out, Unused{f, "rows of {train_tokens} are used as they are"})
		}
	}
	return out
}
