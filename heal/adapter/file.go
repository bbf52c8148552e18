package adapter

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/internal/number"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/safetensors"
)

// prefix stands before the names of a model's modules in PEFT's files.
const prefix = "base_model.model."

// Pair is the adapter of one linear map: Scale · B A is added to it.
type Pair struct {
	Weight model.Weight // the linear map [out, in], as the model names it
	A      []float32    // [Rank, in]
	B      []float32    // [out, Rank]
	Rank   int
	Scale  float64
}

// Adapter is a set of pairs in the order of the model's tensors.
type Adapter struct {
	Config Config
	Pairs  []Pair
}

// names are what a pair's matrices are called in a file, for a linear map called tensor.
func names(tensor string) (a, b string) {
	path := prefix + strings.TrimSuffix(tensor, ".weight")
	return path + ".lora_A.weight", path + ".lora_B.weight"
}

// Read reads the adapter in a directory for the kept layers of a model, which the
// adapter counts from 0 without gaps. What does not belong to that model is an
// *Error that names the first tensor that disagrees.
func Read(dir string, spec *model.Spec, kept []int) (*Adapter, error) {
	c, err := ReadConfig(dir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, WeightsFile)
	f, err := safetensors.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Error{Path: path, What: "the adapter's weights are missing", Remedy: "get the file again; those of a .bin file are not read: save them with safetensors"}
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := &reader{path: path, f: f, config: c, used: map[string]bool{}}
	rename := spec.Renamer(kept)
	for _, layer := range kept {
		for _, w := range spec.LayerWeights(layer) {
			if len(w.Shape) != 2 {
				continue
			}
			name, _ := rename(w.Name)
			if err := r.pair(w, name, slices.Index(kept, layer)); err != nil {
				return nil, err
			}
		}
	}
	if err := r.leftOver(len(kept)); err != nil {
		return nil, err
	}
	if len(r.pairs) == 0 {
		return nil, &Error{Path: path, What: "there are no adapters in it"}
	}
	return &Adapter{Config: *c, Pairs: r.pairs}, nil
}

type reader struct {
	path   string
	f      *safetensors.File
	config *Config
	used   map[string]bool
	pairs  []Pair
}

// pair reads the adapter of one linear map, if it has one.
func (r *reader) pair(w model.Weight, name string, depth int) error {
	nameA, nameB := names(name)
	a, okA := r.f.Tensor(nameA)
	b, okB := r.f.Tensor(nameB)
	switch {
	case !okA && !okB && !r.wants(name, depth):
		return nil
	case !okA:
		return r.fail(nameA, "it is missing: the adapter is of a model with fewer layers, or the file is cut off")
	case !okB:
		return r.fail(nameB, "it is missing: the adapter is of a model with fewer layers, or the file is cut off")
	}
	rank := r.config.rank(strings.TrimSuffix(name, ".weight"))
	if want := []int{rank, w.Shape[1]}; !slices.Equal(a.Shape, want) {
		return r.fail(nameA, fmt.Sprintf("its shape is %v, this model and r ask for %v", a.Shape, want))
	}
	if want := []int{w.Shape[0], rank}; !slices.Equal(b.Shape, want) {
		return r.fail(nameB, fmt.Sprintf("its shape is %v, this model and r ask for %v", b.Shape, want))
	}
	p := Pair{Weight: w, Rank: rank, Scale: r.config.scale(strings.TrimSuffix(name, ".weight"), rank)}
	var err error
	if p.A, err = r.values(a); err != nil {
		return err
	}
	if p.B, err = r.values(b); err != nil {
		return err
	}
	r.used[nameA], r.used[nameB] = true, true
	r.pairs = append(r.pairs, p)
	return nil
}

// wants says whether the config asks for an adapter of a linear map.
func (r *reader) wants(name string, depth int) bool {
	if r.config.Layers != nil && !slices.Contains(r.config.Layers, depth) {
		return false
	}
	return slices.Contains(r.config.Targets.Names, module(name))
}

// leftOver refuses tensors that belong to nothing.
func (r *reader) leftOver(layers int) error {
	for _, t := range r.f.Header().Tensors {
		if !r.used[t.Name] {
			return r.fail(t.Name, fmt.Sprintf("the model, of %d layers, has nothing it belongs to", layers))
		}
	}
	return nil
}

func (r *reader) fail(tensor, what string) error {
	return &Error{Path: r.path, Tensor: tensor, What: what, Remedy: "give the model that the adapter was trained on"}
}

// Write writes an adapter to a directory that exists; rename gives the names that
// linear maps have there.
func (a *Adapter) Write(dir string, rename func(string) (string, bool)) error {
	raw, err := json.MarshalIndent(a.Config, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, ConfigFile), append(raw, '\n'), 0o666); err != nil {
		return err
	}
	var entries []safetensors.Entry
	for _, p := range a.Pairs {
		name, kept := rename(p.Weight.Name)
		if !kept {
			return fmt.Errorf("adapter of %s: its layer is left out", p.Weight.Name)
		}
		nameA, nameB := names(name)
		entries = append(entries,
			safetensors.Entry{Name: nameA, DType: safetensors.F32, Shape: []int{p.Rank, p.Weight.Shape[1]}, Data: bytesOf(p.A)},
			safetensors.Entry{Name: nameB, DType: safetensors.F32, Shape: []int{p.Weight.Shape[0], p.Rank}, Data: bytesOf(p.B)})
	}
	slices.SortFunc(entries, func(x, y safetensors.Entry) int { return strings.Compare(x.Name, y.Name) })
	f, err := os.Create(filepath.Join(dir, WeightsFile))
	if err != nil {
		return err
	}
	return finish(f, safetensors.Write(f, map[string]string{"format": "pt"}, entries))
}

// finish syncs and closes a file that was written, unless that failed.
func finish(f *os.File, err error) error {
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// AddTo adds rows [lo, lo+len(w)/in) of Scale · B A to w, rows of the linear map;
// sums are float64.
func (p *Pair) AddTo(w []float32, lo int) {
	in := p.Weight.Shape[1]
	sums := make([]float64, in)
	for i := 0; i*in < len(w); i++ {
		clear(sums)
		for k := range p.Rank {
			b := float64(p.B[(lo+i)*p.Rank+k])
			for j, a := range p.A[k*in:][:in] {
				sums[j] += b * float64(a)
			}
		}
		for j, s := range sums {
			w[i*in+j] = float32(float64(w[i*in+j]) + p.Scale*s)
		}
	}
}

// values reads a tensor as float32.
func (r *reader) values(t safetensors.Tensor) ([]float32, error) {
	if !model.Computable(t.DType) {
		return nil, r.fail(t.Name, fmt.Sprintf("its dtype is %s, want F32, F16 or BF16", t.DType))
	}
	out := make([]float32, t.Elements())
	number.Widen(out, r.f.Data(t), t.DType)
	for i, x := range out {
		if x-x != 0 {
			return nil, &Error{Path: r.path, Tensor: t.Name, What: fmt.Sprintf("element %d is %v", i, x), Remedy: "the file is damaged, or training went wrong: get it again or train anew"}
		}
	}
	return out, nil
}

// bytesOf is values as a file has them.
func bytesOf(values []float32) []byte {
	out := make([]byte, 4*len(values))
	number.Narrow(out, values, safetensors.F32)
	return out
}
