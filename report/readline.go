package report

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/coppice-ml/coppice/internal/pyjson"
)

// UnknownError is a line of a type that this version does not know.
type UnknownError struct{ Type string }

func (e *UnknownError) Error() string {
	if e.Type == "" {
		return "a JSON line without a type"
	}
	return fmt.Sprintf("a JSON line of an unknown type %q", e.Type)
}

// Read reads a line that Write wrote. Fields that are not known are left out. Errors:
// what is no JSON object, values of another kind, and an *UnknownError.
func Read(line []byte) (Line, error) {
	var kind struct {
		Type string `json:"type"`
	}
	err := pyjson.CheckText(line)
	if err == nil {
		err = pyjson.Explain(json.Unmarshal(line, &kind))
	}
	if err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	read, ok := readers()[kind.Type]
	if !ok {
		return nil, &UnknownError{kind.Type}
	}
	return read(line)
}

// Types are the types of lines, sorted.
func Types() []string { return slices.Sorted(maps.Keys(readers())) }

// readers read the lines of each type.
func readers() map[string]func([]byte) (Line, error) {
	return map[string]func([]byte) (Line, error){
		"bench": as(Bench{}), "blocks": as(Blocks{}), "card": as(Card{}), "curve": as(Curve{}), "difference": as(Difference{}),
		"doctor": as(Doctor{}), "done": as(Healed{}), "error": as(Error{}), "eval": as(HealEval{}), "file": as(File{}),
		"generated": as(Generated{}), "gguf": as(GGUF{}), "key": as(GGUFKey{}), "tensor": as(GGUFTensor{}), "generation": as(Generation{}), "layer": as(Layer{}), "logprobs": as(LogProbs{}), "model": as(Model{}), "note": as(Note{}),
		"perplexity": as(Perplexity{}), "plan": as(Plan{}), "preview": as(Preview{}), "pulled": as(Pulled{}), "pushed": as(Pushed{}), "ranking": as(Ranking{}), "request": as(Shown{}),
		"result": as(Result{StdErr: nan()}), "selfcheck": as(Selfcheck{}), "recipe": as(Recipe{}), "run": as(RunPlan{}), "sizes": as(Sizes{}), "stage": as(Stage{}), "trial": as(TrialPlan{}), "step": as(HealStep{}), "summary": as(Summary{}), "text": as(Text{}),
		"tokens": as(Tokens{}), "variant": as(Variant{}), "version": as(Version{}), "warning": as(Warning{}), "written": as(Written{}),
	}
}

// as reads a line into a copy of blank.
func as[T Line](blank T) func([]byte) (Line, error) {
	return func(raw []byte) (Line, error) {
		l := blank
		err := pyjson.Explain(json.Unmarshal(raw, &l))
		return l, err
	}
}
