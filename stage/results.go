package stage

import (
	"context"
	"fmt"
	"slices"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/internal/shell"
	"github.com/coppice-ml/coppice/prune"
	"github.com/coppice-ml/coppice/report"
)

// result is a number of a checkpoint's card.
type result struct {
	report.Measured
	before string // the same of the model that was pruned; "" where it is not known
	by     string // the program and the number format that measured it; "" where it is not known
}

// readResults reads the results that a card shows. They are of the checkpoint, of
// the pruning that it is before it was written, or of the model that was pruned,
// whole, which makes a column of its own; those of another model are refused.
func readResults(ctx context.Context, env Env, c *checkpoint.Checkpoint, paths []string) ([]result, error) {
	var out []result
	var before []report.Measured
	for _, path := range paths {
		found, err := report.ReadMeasured(path)
		if err != nil {
			return nil, err
		}
		of, err := report.ReadSubject(path)
		if err != nil {
			return nil, err
		}
		is, err := subjectOf(ctx, env, c, path, of)
		if err != nil {
			return nil, err
		}
		if is == prune.Before {
			before = append(before, found...)
			continue
		}
		for _, m := range found {
			out = append(out, result{Measured: m, by: measuredBy(of)})
		}
	}
	for i := range out {
		at := slices.IndexFunc(before, func(m report.Measured) bool { return m.Task == out[i].Task && m.Metric == out[i].Metric })
		if at >= 0 {
			out[i].before = digits(before[at].Value)
		}
	}
	if len(out) == 0 && len(before) > 0 {
		return nil, failed("{results} %s: these are of the model before it was pruned", paths[0]).with("evaluate %s too, and give both files", c.Dir())
	}
	return out, nil
}

// measuredBy names the program and the format of the inputs of matrix products.
func measuredBy(of report.Subject) string {
	if of.Version == "" {
		return ""
	}
	return fmt.Sprintf("`coppice eval` %s, %s", of.Version, of.DType)
}

// subjectOf says what a file of results is to the checkpoint.
func subjectOf(ctx context.Context, env Env, c *checkpoint.Checkpoint, path string, of report.Subject) (prune.Measured, error) {
	if of.ModelHash == "" {
		env.Talk.Warn("%s does not say of which model it is: see that it is of %s", path, c.Dir())
		return prune.After, nil
	}
	hash, err := c.Hash(ctx)
	if err != nil {
		return prune.Another, err
	}
	whole := len(of.Keep) == 0 || len(of.Keep) == of.Layers
	if of.ModelHash == hash && whole {
		return prune.After, nil
	}
	if plan, err := prune.PlanOf(c); err == nil {
		if is := plan.Of(of.ModelHash, of.Keep); is != prune.Another {
			return is, nil
		}
	}
	what := fmt.Sprintf("of %s (hash %.12s)", of.Model, of.ModelHash)
	if !whole {
		what += ", layers " + report.FormatLayers(of.Keep)
	}
	return prune.Another, failed("{results} %s: these are results %s, and not of %s", path, what, c.Dir()).with("evaluate it with `coppice eval %s --out FILE`", shell.Quote(c.Dir()))
}
