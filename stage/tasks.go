package stage

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/coppice-ml/coppice/data"
	"github.com/coppice-ml/coppice/eval"
	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/tokenizer"
)

// Tasks choose benchmark tasks and how their questions are asked.
type Tasks struct {
	Names       string `yaml:"tasks"`        // tasks, groups and tags, separated by commas
	DataDir     string `yaml:"data_dir"`     // directory of datasets; "": the hub
	TaskDir     string `yaml:"task_dir"`     // directory of one's own task files
	Limit       int    `yaml:"limit"`        // first so many documents of each task; 0: all
	Shots       int    `yaml:"num_fewshot"`  // examples before each question; -1: what the task says
	FewshotSeed uint64 `yaml:"fewshot_seed"` // of drawing examples
}

// DefaultTasks has every field that is not given.
func DefaultTasks() Tasks {
	return Tasks{Shots: -1, FewshotSeed: eval.DefaultFewshotSeed}
}

// Check finds what can be wrong before any file is opened.
func (t Tasks) Check() error {
	switch {
	case len(splitNames(t.Names)) == 0:
		return wrong("eval: which tasks?").with("pass {tasks}, such as {tasks} piqa,arc_easy or {tasks} layer-pruning")
	case t.Limit < 0:
		return wrong("{limit} %d: want a positive number, or 0 for all documents", t.Limit)
	case t.Shots < -1:
		return wrong("{num_fewshot} %d: want 0 or more", t.Shots)
	}
	return nil
}

// splitNames splits a comma-separated list.
func splitNames(list string) []string {
	var out []string
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name != "" {
			out = append(out, name)
		}
	}
	return out
}

// questions are the requests of tasks, and once encoded a model's tokens of them.
type questions struct {
	tasks     Tasks
	selection *eval.Selection
	asked     []*eval.Asked
	asking    evalChat
	chat      bool // requests come out of a chat template
	encoder   *eval.Encoder
	encoded   []*eval.Encoded
}

// read finds the tasks and their documents, and makes their requests.
func (t Tasks) read(ctx context.Context, env Env) (*questions, error) {
	selection, err := t.choose()
	if err != nil {
		return nil, err
	}
	return t.readSelection(ctx, env, selection, evalChat{})
}

// TaskNames lists the built-in tasks, groups and tags.
func TaskNames() []string {
	l, err := eval.Builtin()
	if err != nil {
		return nil
	}
	return l.Names()
}

// choose finds the tasks.
func (t Tasks) choose() (*eval.Selection, error) {
	l, err := eval.Builtin()
	if err != nil {
		return nil, err
	}
	if t.TaskDir != "" {
		if err := l.AddDir(t.TaskDir); err != nil {
			return nil, failed("{task_dir}: %w", err)
		}
	}
	s, err := l.Select(splitNames(t.Names))
	var unknown *eval.UnknownError
	if errors.As(err, &unknown) {
		remedy := "your own task files are named by {task_dir}"
		if len(unknown.Nearest) > 0 {
			return nil, wrong("{tasks}: %w", err).with("did you mean %s? Otherwise, "+remedy, strings.Join(unknown.Nearest, ", "))
		}
		return nil, wrong("{tasks}: %w", err).with(remedy)
	}
	return s, err
}

// readSelection reads the documents of tasks and makes their requests.
func (t Tasks) readSelection(ctx context.Context, env Env, selection *eval.Selection, chat evalChat) (*questions, error) {
	q := &questions{tasks: t, selection: selection, chat: chat.render != nil}
	source := &taskData{env: env, dir: t.DataDir, infos: map[string]*hub.Info{}}
	opt := eval.BuildOptions{Limit: t.Limit, Shots: t.Shots, FewshotSeed: t.FewshotSeed, System: chat.Instruction, Chat: chat.render}
	for _, task := range selection.Tasks {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		docs, err := source.docs(ctx, task, task.Split())
		if err != nil {
			return nil, err
		}
		var examples []eval.Doc
		if task.Shots(opt.Shots) > 0 && task.Fewshot.Samples == nil {
			if examples, err = source.docs(ctx, task, task.FewshotFrom()); err != nil {
				return nil, err
			}
		}
		asked, err := eval.Build(task, docs, examples, opt)
		if err != nil {
			return nil, err
		}
		q.asked = append(q.asked, asked)
	}
	return q, nil
}

// encode makes the model's tokens of all requests, each of which must fit. addBOS is
// auto, true or false.
func (q *questions) encode(ctx context.Context, s *Session, addBOS string) error {
	t, err := tokenizer.Load(s.Checkpoint.Dir())
	if err != nil {
		return wantTokenizer(err)
	}
	spec := s.Model.Spec
	var words eval.Tokenizer = t
	if q.chat {
		words = marked{t}
	}
	if q.encoder, err = eval.NewEncoder(words, s.Checkpoint.Config(), addBOS, spec.MaxPositions, spec.Vocab); err != nil {
		return err
	}
	q.encoder.Chat = q.chat
	if q.encoded, err = eval.Encode(ctx, q.asked, q.encoder); err != nil {
		return err
	}
	for _, e := range q.encoded {
		if n := e.Cut(); n > 0 {
			s.env.Talk.Warn("%s: the beginning of the context is left out of %s, which the model's %d positions do not hold", e.Task.Name, report.Plural(n, "request"), spec.MaxPositions)
		}
	}
	return nil
}

// cut counts requests whose contexts lost their beginnings, by task.
func (q *questions) cut() map[string]int {
	out := map[string]int{}
	for _, e := range q.encoded {
		if n := e.Cut(); n > 0 {
			out[e.Task.Name] = n
		}
	}
	return out
}

// describe says where a task's documents come from.
func (t Tasks) describe(task *eval.Task) string {
	if t.DataDir != "" {
		return t.DataDir
	}
	return hubName(task)
}

// shareable refuses tasks that several prunings cannot be asked at once.
func shareable(asked []*eval.Asked, field, remedy string) error {
	for _, a := range asked {
		if a.Task.Output == eval.GenerateUntil {
			return wrong(field+": %s writes its answers, which prunings cannot share", a.Task.Name).with("%s", remedy)
		}
	}
	return nil
}

// evalRemedy adds remedies to errors of package eval.
func evalRemedy(err error) error {
	var p *Problem
	if err == nil || errors.As(err, &p) {
		return err
	}
	var long *eval.LengthError
	var gold *eval.GoldError
	var empty *eval.EmptyError
	switch {
	case errors.As(err, &long):
		return failed("%w", err).with("use a model with more positions, or leave the task out")
	case errors.As(err, &gold):
		return failed("%w", err).with("the file is damaged, or its columns are not those of this task")
	case errors.As(err, &empty):
		return failed("%w", err).with("the dataset's files hold no rows for this split")
	case errors.Is(err, eval.ErrInUse):
		return failed("%w", err).with("wait for the other run, or name another {out}")
	case errors.Is(err, eval.ErrState):
		return failed("%w", err).with("start over with {force}, or name another {out}")
	case errors.Is(err, eval.ErrNoBOS):
		return wrong("{add_bos} true: %w", err).with("pass {add_bos} auto or false")
	}
	return err
}

// taskData finds the documents of tasks: in a directory, or on the hub.
type taskData struct {
	env    Env
	dir    string // empty: the hub
	client *hub.Client
	infos  map[string]*hub.Info
}

func hubName(t *eval.Task) string {
	if t.Metadata.Revision == "" {
		return t.DatasetPath
	}
	return t.DatasetPath + "@" + t.Metadata.Revision
}

// docs reads a split.
func (d *taskData) docs(ctx context.Context, t *eval.Task, split string) ([]eval.Doc, error) {
	if d.dir != "" {
		docs, err := eval.Dir(d.dir).Docs(t, split)
		if err != nil {
			return nil, failed("%w", err).with("{data_dir} holds a directory for each dataset, such as %s", filepath.Join(d.dir, filepath.Base(t.DatasetPath)))
		}
		return docs, nil
	}
	paths, err := d.fetch(ctx, t, split)
	if err != nil {
		return nil, unreachable(t, err)
	}
	return eval.ReadDocs(t, paths)
}

// unreachable adds what else can be done to an error of the hub.
func unreachable(t *eval.Task, err error) error {
	if !strings.HasPrefix(err.Error(), t.DatasetPath+": ") {
		err = fmt.Errorf("%s: %w", t.DatasetPath, err)
	}
	err = hubError(fmt.Errorf("task %s: dataset %w", t.Name, err))
	const offline = "files that are here already are read with {data_dir}"
	var p *Problem
	var e *hub.Error
	if errors.As(err, &p) && errors.As(err, &e) && e.Remedy != "" {
		return p.with("%s; "+offline, e.Remedy)
	}
	out := failed("%w", err).with(offline)
	return out
}

// fetch brings a split's files from the hub.
func (d *taskData) fetch(ctx context.Context, t *eval.Task, split string) ([]string, error) {
	info, err := d.info(ctx, hubName(t))
	if err != nil {
		return nil, err
	}
	names := t.FilesOf(split, info.Names())
	if names == nil {
		if names, err = discover(t, split, info); err != nil {
			return nil, err
		}
	}
	dir, err := d.client.Download(ctx, info, names, nil)
	if err != nil {
		return nil, err
	}
	paths := make([]string, len(names))
	for i, n := range names {
		paths[i] = filepath.Join(dir, filepath.FromSlash(n))
	}
	return paths, nil
}

// discover finds a split as the hub lays datasets out, where the task pins no files.
func discover(t *eval.Task, split string, info *hub.Info) ([]string, error) {
	layout, err := data.Discover(t.DatasetPath, info.Names(), nil)
	if err != nil {
		return nil, err
	}
	for _, c := range layout.Configs {
		if t.DatasetName != "" && c.Name != t.DatasetName && len(layout.Configs) > 1 || t.DatasetName == "" && !c.Default && len(layout.Configs) > 1 {
			continue
		}
		for _, s := range c.Splits {
			if s.Name == split {
				return s.Files, nil
			}
		}
	}
	return nil, fmt.Errorf("no split %q of the config %q", split, t.DatasetName)
}

func (d *taskData) info(ctx context.Context, name string) (*hub.Info, error) {
	if info, ok := d.infos[name]; ok {
		return info, nil
	}
	if d.client == nil {
		client, err := d.env.Hub()
		if err != nil {
			return nil, err
		}
		d.client = client
	}
	repo, err := hub.ParseRepo(hub.Dataset, name)
	if err != nil {
		return nil, err
	}
	info, err := d.client.Info(ctx, repo)
	if err != nil {
		return nil, err
	}
	d.infos[name] = info
	return info, nil
}
