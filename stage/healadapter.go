package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/coppice-ml/coppice/heal/adapter"
	"github.com/coppice-ml/coppice/internal/shell"
	"github.com/coppice-ml/coppice/prune"
	"github.com/coppice-ml/coppice/report"
)

// writeAdapter writes adapters, a card and, of a pruning, written or not, its plan.
func (j *healJob) writeAdapter(ctx context.Context, dir string, done *report.Healed) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	p, pruned, err := j.plan()
	if err != nil {
		return err
	}
	base := j.base(p)
	if base != j.Model {
		done.Base = base
	}
	config := adapter.NewConfig(base, j.Rank, j.Alpha, j.Dropout, j.RankStable, j.s.Model.Spec, j.kept, j.chosen.Adapted)
	a, err := j.set.Adapter(ctx, j.chosen, config)
	if err != nil {
		return err
	}
	plan := j.s.Checkpoint.Beside(prune.PlanFile)
	if pruned {
		if plan, err = j.planFile(ctx, p); err != nil {
			return err
		}
	}
	files := map[string][]byte{cardFile: []byte(j.card(j.adapterCard(p, base), done)), prune.PlanFile: plan}
	for name, raw := range files {
		if raw == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o666); err != nil {
			return err
		}
	}
	return a.Write(dir, j.s.Model.Spec.Renamer(j.kept))
}

// base is what an adapter runs beside, as PEFT's files name it: the model or, where
// that was never written, words of a command line that name no directory and no model on a hub. With the
// whole model's name there, PEFT would put the adapter on the wrong layers of it.
func (j *healJob) base(p prune.Plan) string {
	name := j.Model
	if len(p.Drop) > 0 {
		name = shell.Quote(name) + " --drop " + prune.FormatLayers(p.Drop)
	}
	if len(j.Layers.Trained) > 0 {
		name += " with the tensors of " + strings.Join(j.Layers.Trained, ", ")
	}
	return name
}

// planFile is the plan that was healed, with what it is a plan for.
func (j *healJob) planFile(ctx context.Context, p prune.Plan) ([]byte, error) {
	hash, err := j.hash(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.Complete(j.s.Checkpoint, j.stored, prune.Options{Version: j.env.Version, SourceName: modelName(j.Model), ModelHash: hash}); err != nil {
		return nil, err
	}
	raw, err := json.MarshalIndent(p, "", "  ")
	return append(raw, '\n'), err
}

// adapterCard says what an adapter runs beside.
func (j *healJob) adapterCard(p prune.Plan, base string) string {
	var b strings.Builder
	b.WriteString("---\nlibrary_name: peft\n")
	if id := modelName(j.Model); id != "" && base == j.Model {
		fmt.Fprintf(&b, "base_model: %q\n", id)
	}
	fmt.Fprintf(&b, "tags:\n- lora\n- coppice\n---\n\n# A LoRA adapter of %s\n\n", base)
	if base == j.Model {
		return b.String()
	}
	fmt.Fprintf(&b, "**Not for the whole model**: `%s` names what was trained on, which was never written. ", base)
	if len(p.Drop) == 0 {
		b.WriteString("With other tensors the adapter computes something else.\n")
		return b.String()
	}
	fmt.Fprintf(&b, "The adapter counts the %d layers that are left from 0: on all %d it may load without an error, and is on the wrong ones. ", len(p.Keep), p.Layers)
	if len(j.Layers.Trained) > 0 {
		return b.String() + "\n"
	}
	fmt.Fprintf(&b, "PEFT needs its base as a checkpoint:\n\n```\ncoppice prune %s --out DIR\n```\n\n", base)
	b.WriteString("```python\nfrom peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n\n" +
		"model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(\"DIR\", torch_dtype=\"auto\"), \"PATH\")\n```\n\n" +
		"with this directory or its name on the hub in place of `PATH`. Coppice runs it without that checkpoint, too:\n\n")
	fmt.Fprintf(&b, "```\ncoppice generate %s --adapter PATH --prompt TEXT\n```\n", base)
	return b.String()
}
