package stage

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coppice-ml/coppice/internal/mmap"
	"github.com/coppice-ml/coppice/internal/number"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/safetensors"
)

// Init writes a checkpoint of random weights for a config: what training from
// nothing begins with.
type Init struct {
	Config string  `yaml:"config"` // config.json, or a directory that holds one and perhaps a tokenizer
	Out    string  `yaml:"out"`
	Seed   uint64  `yaml:"seed"`
	Range  float64 `yaml:"range"` // standard deviation of the weights; 0: the config's initializer_range, or 0.02
}

// DefaultInit has the seed that other commands have.
func DefaultInit() Init { return Init{Seed: 42} }

// Check finds what can be wrong before any file is opened.
func (i Init) Check() error {
	switch {
	case i.Config == "":
		return wrong("{config}: of which model?").with("name a config.json, or a directory that holds one")
	case i.Out == "":
		return wrong("{out}: where should the result go?").with("pass {out} with a directory")
	case !(i.Range >= 0) || math.IsInf(i.Range, 1):
		return wrong("{range} %v: want a positive number", i.Range)
	}
	return nil
}

// Run writes the checkpoint. Weights of linear maps and embeddings are normal, with
// mean 0 and the config's initializer_range for deviation; norms begin as the
// identity, biases at 0, as transformers' _init_weights leaves them. Each tensor is
// a function of the seed and its name.
func (i Init) Run(ctx context.Context, env Env) (*report.Written, error) {
	started := time.Now()
	if err := i.Check(); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(i.Out); err == nil {
		return nil, wrong("{out}: %s exists", i.Out).with("choose another directory, or remove it")
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	dir, name := i.Config, "config.json"
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		dir, name = filepath.Split(i.Config)
	}
	raw, err := mmap.ReadNamed(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		missing := filepath.Join(dir, name)
		if _, err := os.Stat(i.Config); err != nil {
			missing = i.Config
		}
		return nil, failed("%s: there is no such file", missing).with("name a config.json, or a directory that holds one")
	}
	if err != nil {
		return nil, err
	}
	spec, err := model.ParseConfigBeside(raw, func(name string) []byte {
		beside, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil
		}
		return beside
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
	}
	if i.Range == 0 {
		i.Range = model.InitializerRange(raw)
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(i.Out)), 0o777); err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(i.Out)), "."+filepath.Base(i.Out)+".coppice-init-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	made := filepath.Join(tmp, "model") // of the mode that the process gives, as tmp is not
	if err := os.Mkdir(made, 0o777); err != nil {
		return nil, err
	}
	bytes, err := i.write(ctx, made, raw, spec)
	if err == nil {
		err = copyTokenizer(dir, made)
	}
	if err == nil {
		err = os.Rename(made, i.Out)
	}
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", i.Out, err)
	}
	env.Talk.Note("%s: %d parameters in %d layers", spec.Family, spec.Parameters(), spec.Layers)
	return &report.Written{Path: i.Out, Bytes: bytes, Seconds: seconds(started)}, nil
}

// write writes config and weights.
func (i Init) write(ctx context.Context, dir string, raw []byte, spec *model.Spec) (int64, error) {
	if err := os.WriteFile(filepath.Join(dir, "config.json"), raw, 0o666); err != nil {
		return 0, err
	}
	dtype, err := initDType(spec)
	if err != nil {
		return 0, err
	}
	var tensors []safetensors.Tensor
	var weights []model.Weight
	for w := range spec.Weights() {
		weights = append(weights, w)
		tensors = append(tensors, safetensors.Tensor{Name: w.Name, DType: dtype, Shape: w.Shape})
	}
	f, err := os.Create(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		return 0, err
	}
	b := bufio.NewWriterSize(f, 1<<20)
	total, err := safetensors.WriteHeader(b, tensors, map[string]string{"format": "pt"})
	for _, w := range weights {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err == nil {
			total += w.Elements() * int64(dtype.Size())
			err = i.tensor(b, spec, w, dtype)
		}
	}
	if err == nil {
		err = b.Flush()
	}
	return total, errors.Join(err, f.Close())
}

// initDType is what the config says weights are stored in; float32 if nothing.
func initDType(spec *model.Spec) (safetensors.DType, error) {
	switch spec.DType {
	case "", "float32":
		return safetensors.F32, nil
	case "bfloat16":
		return safetensors.BF16, nil
	}
	return "", fmt.Errorf("torch_dtype %s in config.json: want float32 or bfloat16; edit it", spec.DType)
}

func (i Init) tensor(b *bufio.Writer, spec *model.Spec, w model.Weight, dtype safetensors.DType) error {
	h := fnv.New64a()
	h.Write([]byte(w.Name))
	r := rand.New(rand.NewPCG(i.Seed, h.Sum64()))
	value := func() float32 { return float32(i.Range * r.NormFloat64()) }
	switch {
	case strings.HasSuffix(string(w.Role), "-bias"):
		value = func() float32 { return 0 }
	case strings.HasSuffix(string(w.Role), "-norm"):
		value = func() float32 { return float32(1 - spec.NormOffset) }
	}
	buf := make([]byte, 0, 4)
	for range w.Elements() {
		if dtype == safetensors.BF16 {
			buf = binary.LittleEndian.AppendUint16(buf[:0], number.ToBF16(value()))
		} else {
			buf = binary.LittleEndian.AppendUint32(buf[:0], math.Float32bits(value()))
		}
		if _, err := b.Write(buf); err != nil {
			return err
		}
	}
	return nil
}

// copyTokenizer copies what of a tokenizer lies beside the config.
func copyTokenizer(from, to string) error {
	for _, name := range []string{"tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json", "vocab.json", "merges.txt", "chat_template.jinja"} {
		data, err := os.ReadFile(filepath.Join(from, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), data, 0o666)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
