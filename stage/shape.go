package stage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/eval"
	"github.com/coppice-ml/coppice/heal"
	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
)

// Shape is what is known of a model by its config alone: enough to say what work on
// it takes.
type Shape struct {
	Dir  string
	spec *model.Spec
}

// ReadShape reads a model's config, and for that pulls it and the tokenizer of a
// model of the hub, no weights: where access is refused, that is the error.
func ReadShape(ctx context.Context, env Env, name string) (*Shape, error) {
	dir, c, spec, err := openConfig(ctx, env, name, hub.NeedConfig)
	if err != nil {
		return nil, err
	}
	c.Close()
	if err := spec.Runnable(); err != nil {
		return nil, fmt.Errorf("%s/config.json: %w", dir, err)
	}
	return &Shape{Dir: dir, spec: spec}, nil
}

// openConfig finds a model, pulling what is needed of one of the hub, and reads its
// config alone. The checkpoint is the caller's to close.
func openConfig(ctx context.Context, env Env, name string, need hub.Need) (dir string, c *checkpoint.Checkpoint, spec *model.Spec, err error) {
	if dir, err = find(ctx, env, name, need); err != nil {
		return "", nil, nil, err
	}
	if c, err = checkpoint.OpenConfig(dir); err != nil {
		return "", nil, nil, err
	}
	if spec, err = model.SpecOf(c); err != nil {
		c.Close()
		return "", nil, nil, err
	}
	return dir, c, spec, nil
}

// Facts are the model's sizes, bytes by the dtype that its config names.
func (s *Shape) Facts() report.Model {
	f := inspector{spec: s.spec, line: modelLine(s.Dir, s.spec)}
	f.fromConfig()
	f.line.Path = ""
	return f.line
}

// Layers is how many there are.
func (s *Shape) Layers() int { return s.spec.Layers }

// LayerParameters are those of one layer.
func (s *Shape) LayerParameters() int64 { return s.spec.LayerParameters() }

// HeadParameters are those of the projection to the vocabulary.
func (s *Shape) HeadParameters() int64 { return int64(s.spec.Vocab) * int64(s.spec.Hidden) }

// KVBytesPerToken is what a token takes in caches of 16-bit keys and values.
func (s *Shape) KVBytesPerToken() int64 {
	return int64(s.spec.Layers) * 2 * int64(s.spec.KVHeads) * int64(s.spec.HeadDim) * 2
}

// Drops is how many layers a plan by a ranking drops.
func (s *Shape) Drops(p Plan) (int, error) {
	n, err := p.drops(s.spec)
	if err != nil {
		return 0, err
	}
	protect, err := parseProtect(p.Protect, s.spec.Layers)
	if err == nil && n > s.spec.Layers-len(protect) {
		err = wrong("{count}: cannot drop %d layers: only %d of %d are not protected", n, s.spec.Layers-len(protect), s.spec.Layers)
	}
	return n, err
}

// Kept are the layers that a pruning which is spelled out keeps.
func (s *Shape) Kept(l Layers) ([]int, error) {
	p, err := l.choose(s.spec)
	return p.Keep, err
}

// Trains says what training comes to with so many layers gone: parameters that
// change, and how many layers gradients go through.
func (s *Shape) Trains(t Training, gone int) (parameters int64, depth int, err error) {
	spec := s.spec
	if t.Untie && spec.Tied {
		untied := *spec
		untied.Tied, spec = false, &untied
	}
	kept := span(0, spec.Layers-gone)
	sel := heal.Selection{Method: t.Method, Last: t.Last, Head: t.Head, Norm: t.Norm, Embed: t.Embed, Train: t.Train, Targets: t.Targets}
	if t.Method != heal.Partial {
		sel.Last = 0
	}
	c, err := sel.Choose(spec, kept)
	if err != nil {
		return 0, 0, healProblem(err)
	}
	return c.Parameters(t.Rank), len(kept) - max(0, c.Low), nil
}

// Locate brings a whole model here and identifies it by its content.
func Locate(ctx context.Context, env Env, name string) (dir, hash string, err error) {
	s, err := Open(ctx, env, name, Layers{})
	if err != nil {
		return "", "", err
	}
	defer s.Close()
	hash, err = s.Checkpoint.Hash(ctx)
	return s.Checkpoint.Dir(), hash, err
}

// Fingerprint identifies texts or rows: a data set of the hub by its commit, files by
// their content. It pulls what is not here yet.
func Fingerprint(ctx context.Context, env Env, source string) (string, error) {
	name, weight, err := weighted(source)
	if err != nil {
		return "", err
	}
	c, err := openData(ctx, env, "data", name)
	if err != nil {
		return "", err
	}
	suffix := ""
	if weight > 0 {
		suffix = fmt.Sprintf(":%v", weight)
	}
	if strings.Contains(c.source, "@") {
		if _, err := os.Stat(name); err != nil { // not a path with an @ in it
			return c.source + suffix, nil
		}
	}
	h := sha256.New()
	for _, f := range c.files {
		if err := hashFile(h, f); err != nil {
			return "", err
		}
	}
	return "sha256 " + hex.EncodeToString(h.Sum(nil)) + suffix, nil
}

// FingerprintPath identifies a file, or a directory by all its files.
func FingerprintPath(path string) (string, error) {
	h := sha256.New()
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(path, p)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%s\n", filepath.ToSlash(rel))
		return hashFile(h, p)
	})
	return "sha256 " + hex.EncodeToString(h.Sum(nil)), err
}

func hashFile(to io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(to, f)
	return err
}

// Shareable says whether several prunings can be asked these tasks at once.
func (t Tasks) Shareable() (bool, error) {
	s, err := t.choose()
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(s.Tasks, func(t *eval.Task) bool { return t.Output == eval.GenerateUntil }), nil
}

// Identity identifies the tasks: their versions, and their documents where those lie
// in a directory.
func (t Tasks) Identity() (string, error) {
	s, err := t.choose()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, task := range s.Tasks {
		fmt.Fprintf(h, "%s %s %s\n", task.Name, task.Metadata.Version, hubName(task))
		if t.DataDir == "" {
			continue
		}
		docs, err := eval.Dir(t.DataDir).Docs(task, task.Split())
		if err != nil {
			return "", failed("%w", err).with("{data_dir} holds a directory for each dataset, such as %s", filepath.Join(t.DataDir, filepath.Base(task.DatasetPath)))
		}
		fmt.Fprintf(h, "%d documents\n", len(docs))
	}
	if t.TaskDir != "" {
		of, err := FingerprintPath(t.TaskDir)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, of)
	}
	if t.DataDir != "" {
		of, err := FingerprintPath(t.DataDir)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, of)
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}
