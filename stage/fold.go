package stage

import (
	"context"
	"os"
	"path/filepath"
	"slices"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/heal/overlay"
	"github.com/coppice-ml/coppice/internal/wholefile"
	"github.com/coppice-ml/coppice/safetensors"
)

// Fold writes the tensors that an adapter comes to, folded into the weights of the
// model that it was trained beside, by themselves: what iterative pruning goes on
// from.
type Fold struct {
	Model   string `yaml:"model"`
	Out     string `yaml:"out"`     // directory
	Adapter string `yaml:"adapter"` // directory
	Cut     `yaml:",inline"`
}

// Run writes, in the dtypes that the model has its tensors in.
func (f Fold) Run(ctx context.Context, env Env) error {
	s, err := Open(ctx, env, f.Model, Layers{Cut: f.Cut})
	if err != nil {
		return err
	}
	defer s.Close()
	tensors, err := Assemble{Adapter: f.Adapter}.replacements(s)
	if err != nil {
		return err
	}
	rename := s.Model.Spec.Renamer(s.kept())
	var list []safetensors.Tensor
	var read []checkpoint.Tensor
	for w := range s.Model.Spec.Weights() {
		name, _ := rename(w.Name)
		t, ok := tensors[name]
		if !ok || !slices.Contains(s.kept(), w.Layer) {
			continue
		}
		list, read = append(list, safetensors.Tensor{Name: w.Name, DType: t.DType, Shape: t.Shape}), append(read, t)
	}
	return wholefile.Write(filepath.Join(f.Out, overlay.FileName), func(file *os.File) error {
		if _, err := safetensors.WriteHeader(file, list, map[string]string{"format": "pt"}); err != nil {
			return err
		}
		for i, t := range read {
			raw := make([]byte, list[i].Elements()*int64(t.DType.Size()))
			if err := t.Read(raw, 0); err != nil {
				return err
			}
			if _, err := file.Write(raw); err != nil {
				return err
			}
			if err := context.Cause(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}
