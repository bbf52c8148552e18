package checkpoint

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/coppice-ml/coppice/internal/mmap"
)

// noConfig says what the directory holds where there is no config.json.
func (c *Checkpoint) noConfig(path string) Problem {
	if present(c.dir, configName) {
		return Problem{Path: path, Message: "this link leads to a file that is missing", Remedy: "pull the model again, or put the file back", Err: ErrNoConfig}
	}
	if p, ok := c.other(); ok {
		p.Err = ErrNoConfig
		return p
	}
	p := Problem{Path: path, Message: "there is no config.json", Remedy: "name a Hugging Face checkpoint directory", Err: ErrNoConfig}
	if below := matching(c.dir, "snapshots/*/config.json"); len(below) > 0 {
		p.Remedy = "name one of the snapshots in it, such as " + filepath.Join(c.dir, filepath.Dir(filepath.FromSlash(below[0])))
	} else if below := matching(c.dir, "*/config.json"); len(below) > 0 {
		p.Remedy = "name the directory in it that holds one, such as " + filepath.Join(c.dir, filepath.Dir(filepath.FromSlash(below[0])))
	}
	return p
}

// other recognises directories of models that are no checkpoints of transformers'.
func (c *Checkpoint) other() (Problem, bool) {
	const asSaved = "name the original checkpoint, as transformers saves it: config.json and safetensors"
	switch {
	case present(c.dir, "adapter_config.json"):
		return Problem{Path: c.dir, Message: "this is a PEFT adapter" + c.adapterBase() + ", not a model: it holds only what is added to one",
			Remedy: "merge it into its base (in Python, peft's merge_and_unload and then save_pretrained) and name that directory"}, true
	case len(matching(c.dir, "*.gguf")) > 0:
		return Problem{Path: c.dir, Message: matching(c.dir, "*.gguf")[0] + ": GGUF is not read", Remedy: asSaved}, true
	case present(c.dir, "params.json") && len(matching(c.dir, "consolidated*")) > 0:
		return Problem{Path: c.dir, Message: "these are Meta's or Mistral's own files (params.json, consolidated weights), which are not read", Remedy: asSaved}, true
	}
	return Problem{}, false
}

// adapterBase names the model that an adapter is for, where it says so.
func (c *Checkpoint) adapterBase() string {
	raw, err := mmap.ReadRegular(filepath.Join(c.dir, "adapter_config.json"), maxConfig)
	var a struct {
		Base string `json:"base_model_name_or_path"`
	}
	if err != nil || json.Unmarshal(raw, &a) != nil || a.Base == "" {
		return ""
	}
	return fmt.Sprintf(" of %.200s", a.Base)
}

// noWeights says what the directory holds instead of weights.
func (c *Checkpoint) noWeights() Problem {
	if p, ok := c.other(); ok {
		p.Err = ErrNoWeights
		return p
	}
	p := Problem{Path: c.dir, Err: ErrNoWeights}
	for _, f := range forms() {
		if shards := matching(c.dir, f.shards); len(shards) > 0 {
			p.Message = fmt.Sprintf("%s is missing, though there are shards such as %s", f.index, shards[0])
			p.Remedy = getAgain
			return p
		}
	}
	for _, pattern := range []string{"*.safetensors", "*.bin", "*.pth", "*.pt"} {
		if others := matching(c.dir, pattern); len(others) > 0 {
			p.Message = fmt.Sprintf("there is %s, but neither model.safetensors nor pytorch_model.bin, nor an index of either", others[0])
			p.Remedy = "get the model in one of these forms, as transformers saves it"
			return p
		}
	}
	p.Message = "neither model.safetensors nor pytorch_model.bin is there, nor an index of either"
	p.Remedy = "get the weights too, or look at the config alone"
	return p
}

// Beside returns the content of a small file of the directory, by plain name, or
// nil where there is none or it is too large to be one.
func (c *Checkpoint) Beside(name string) []byte {
	if name != filepath.Base(name) {
		return nil
	}
	raw, err := mmap.ReadRegular(filepath.Join(c.dir, name), maxBeside)
	if err != nil {
		return nil
	}
	return raw
}

// maxBeside is more than modelling code or a card takes.
const maxBeside = 4 << 20
