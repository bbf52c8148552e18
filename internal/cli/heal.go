package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/coppice-ml/coppice/internal/shell"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/stage"
)

type healOptions struct {
	stage.Heal
	betas, saveEvery string
	keepTied         bool
	plot             plotFlags
	given            *cobra.Command
}

func newHeal(a *app) *cobra.Command {
	o := healOptions{Heal: stage.DefaultHeal()}
	c := &cobra.Command{
		Use:   "heal MODEL --out DIR --data DATA",
		Short: "Fine-tune what is left of a model after layers were cut",
		Long: `Fine-tune a model, or with --drop or --plan a pruning of it that was never
written, and write the result to --out.

--method partial trains head, final norm and the last layers (--last 3); lora trains
low-rank adapters beside frozen weights and writes them in PEFT's files; full trains
everything. The loss is the mean over the target tokens of the whole batch, however
it is packed. What it will take in memory, disk and time is said beforehand.

Rows are read by their columns: messages, conversations (ShareGPT), instruction with
output (Alpaca) or response (Dolly), prompt with completion or response, question
with choices and answer (MMLU), text; --map output=answer names a column that is
called otherwise. Conversations go through the model's chat template and the
assistant's turns are learnt, instructions are put in Alpaca's words; --template and
--train-on change that, and --preview 3 shows it.

Training is saved every ten minutes (--save-every) and when it is interrupted; the
same command goes on from there as if nothing had happened.`,
		Example: `  coppice heal ./model --drop 24-31 --out healed --data yahma/alpaca-cleaned
  coppice heal smaller --out healed --data rows.jsonl --last 2 --lr 2e-5
  coppice heal smaller --data chats.jsonl:3 --data rows.csv:1 --map output=answer --preview 3
  coppice heal smaller --out adapter --method lora --data rows.jsonl
  coppice heal smaller --out healed --data text.txt --steps 200 --method full`,
		Args: modelArg,
		RunE: func(c *cobra.Command, args []string) error {
			o.Model, o.given = args[0], c
			return o.run(c.Context(), a)
		},
	}
	a.workFlags(c)
	a.yesFlag(c)
	f := c.Flags()
	f.StringVar(&o.Out, "out", "", "directory for the result and what training keeps")
	f.BoolVar(&o.Force, "force", false, "start over, whatever --out holds of an earlier run")
	f.StringVar(&o.Method, "method", o.Method, "partial, lora or full")
	cutFlags(c, flagsLayers, &o.Layers)
	engineFlags(c, &o.Engine)
	inGroup(f, flagsTrain, o.trainedFlags)
	inGroup(f, flagsData, o.trainDataFlags)
	inGroup(f, flagsSteps, o.stepFlags)
	inGroup(f, flagsLife, o.lifeFlags)
	nonEmpty(c, "out", "method", "train-tokens", "schema", "template", "train-on", "validation-data", "layers", "train", "lora-init", "init-from", "betas", "save-every", "plot")
	for _, pair := range [][]string{{"epochs", "steps"}, {"last", "layers"}, {"keep-tied", "untie"}, {"data", "train-tokens"}, {"preview", "plot"}, {"validation", "validation-data"}, {"lora-init", "init-from"}} {
		exclusive(c, pair...)
	}
	return c
}

// trainedFlags say what trains.
func (o *healOptions) trainedFlags(f *pflag.FlagSet) {
	f.IntVar(&o.Last, "last", o.Last, "partial: how many of the last layers train")
	f.StringVar(&o.TrainLayers, "layers", "", "layers that train (lora: are adapted), as MODEL counts them, in place of --last")
	f.BoolVar(&o.Head, "head", o.Head, "partial: the head trains")
	f.BoolVar(&o.Norm, "norm", o.Norm, "partial: the final norm trains")
	f.BoolVar(&o.Embed, "embed", o.Embed, "partial: the embedding trains")
	f.StringVar(&o.Train, "train", "", "partial: regular expression: tensors that train as well, by name")
	f.BoolVar(&o.keepTied, "keep-tied", true, "a head that is tied to the embedding trains with it; false: --untie")
	f.BoolVar(&o.Untie, "untie", false, "a tied head gets weights of its own and trains alone (vLLM refuses such a Gemma 2)")
	f.IntVar(&o.Rank, "rank", o.Rank, "lora: columns of an adapter")
	f.Float64Var(&o.Alpha, "alpha", o.Alpha, "lora: an adapter is scaled by alpha / rank")
	f.Float64Var(&o.Dropout, "dropout", o.Dropout, "lora: share of an adapter's input that is dropped while training")
	f.StringSliceVar(&o.Targets, "targets", o.Targets, "lora: q,k,v,o,gate,up,down, all, or a regular expression of tensor names; assistant, last: as --train-on")
	f.BoolVar(&o.RankStable, "rslora", false, "lora: scale by alpha / sqrt(rank)")
	f.StringVar(&o.LoRAInit, "lora-init", "", "lora: directory of an adapter to begin with")
}

// stepFlags say how steps are made.
func (o *healOptions) stepFlags(f *pflag.FlagSet) {
	f.Float64Var(&o.Epochs, "epochs", o.Epochs, "times that all samples are taken")
	f.IntVar(&o.Steps, "steps", 0, "updates, in place of --epochs")
	f.IntVar(&o.Batch, "batch-size", o.Batch, "samples of an update, however they are packed")
	f.IntVar(&o.MicroTokens, "micro-batch-tokens", o.MicroTokens, "about how many tokens go through the model at once")
	f.Float64Var(&o.LR, "lr", 0, "learning rate (default 1e-5; lora 1e-4)")
	f.StringVar(&o.Schedule, "schedule", o.Schedule, "of the learning rate: linear, cosine or constant")
	f.IntVar(&o.Warmup, "warmup-steps", o.Warmup, "steps that the learning rate rises (default: the smaller of 100 and 6 %)")
	f.Lookup("warmup-steps").DefValue = ""
	f.Float64Var(&o.WeightDecay, "weight-decay", 0, "of AdamW, decoupled")
	f.BoolVar(&o.DecayAll, "decay-all", false, "decay norms and biases, too")
	f.StringVar(&o.betas, "betas", fmt.Sprintf("%v,%v", o.Betas[0], o.Betas[1]), "of AdamW")
	f.Float64Var(&o.Eps, "eps", o.Eps, "of AdamW")
	f.Float64Var(&o.MaxGradNorm, "max-grad-norm", o.MaxGradNorm, "gradients are scaled down to this norm; 0: never")
	f.StringVar(&o.Moments, "moments", o.Moments, "what AdamW's moments are kept in: float32 or bfloat16")
	f.StringVar(&o.Heal.Compute, "compute", o.Heal.Compute, "needed: only what the loss needs; all: every row, for comparison")
}

// lifeFlags say what is looked at and kept.
func (o *healOptions) lifeFlags(f *pflag.FlagSet) {
	f.IntVar(&o.EvalEvery, "eval-every", o.EvalEvery, "steps between evaluations on what is held out; 0: at the end alone")
	f.StringVar(&o.Keep, "keep", o.Keep, "what is written: best evaluation or last step")
	f.IntVar(&o.Patience, "patience", 0, "end after so many evaluations without a better one (default: never)")
	f.StringVar(&o.saveEvery, "save-every", "10m", "steps or time between checkpoints of training")
	f.IntVar(&o.Checkpoints, "keep-checkpoints", o.Checkpoints, "newest checkpoints that are kept, beside the best")
	f.StringVar(&o.SaveDType, "save-dtype", o.SaveDType, "of the written weights: original or float32")
	f.StringVar(&o.InitFrom, "init-from", "", "output of an earlier run whose trained tensors to go on from, with a new schedule")
	f.BoolVar(&o.TensorBoard, "tensorboard", false, "write an event file for TensorBoard into --out, under the names of Hugging Face's Trainer")
	f.StringVar(&o.plot.path, "plot", "", "draw the losses to a .png or .svg file")
}

func (o healOptions) run(ctx context.Context, a *app) error {
	if err := o.parse(); err != nil {
		return err
	}
	if err := o.splitTargets(); err != nil {
		return err
	}
	for _, u := range o.Unused() {
		if u.Field == "targets" && o.Data.Learn != "" {
			continue // they said what is learnt
		}
		if name := strings.TrimPrefix(flagName(u.Field), "--"); o.given.Flags().Changed(name) {
			return usage("--%s: %s", name, stage.Named(u.Why, flagName))
		}
	}
	if o.Data.Preview > 0 {
		return o.Show(ctx, a.env(), func(p report.Preview) error { return stillWork(printPreview(a, p)) })
	}
	o.plot.force = o.Force
	if err := o.plot.check(); err != nil {
		return err
	}
	done, err := o.Run(ctx, a.env(), func(l report.Line) error { return stillWork(printHealing(a, l)) })
	if err != nil {
		return err
	}
	if o.plot.path != "" {
		panels, err := lossPanels(o.Out)
		if err != nil {
			return err
		}
		if err := o.plot.draw(a, caption(o.Model, nil, nil, "method "+o.Method), panels); err != nil {
			return err
		}
	}
	return printHealed(a, *done)
}

// parse reads the flags that are lists or one of two kinds.
func (o *healOptions) parse() error {
	o.Untie = o.Untie || !o.keepTied
	first, second, found := strings.Cut(o.betas, ",")
	var err1, err2 error
	o.Betas[0], err1 = strconv.ParseFloat(strings.TrimSpace(first), 64)
	o.Betas[1], err2 = strconv.ParseFloat(strings.TrimSpace(second), 64)
	if !found || err1 != nil || err2 != nil {
		return usage("--betas %s: want two numbers, such as .9,.999", o.betas)
	}
	if n, err := strconv.Atoi(o.saveEvery); err == nil {
		o.SaveEvery, o.SaveMinutes = n, 0
		if n < 1 {
			return usage("--save-every %s: want at least 1 step", o.saveEvery)
		}
		return o.atLeastOnes()
	}
	d, err := time.ParseDuration(o.saveEvery)
	if err != nil || d <= 0 {
		return usage("--save-every %s: want a number of steps, or a time such as 10m", o.saveEvery)
	}
	o.SaveMinutes = d
	return o.atLeastOnes()
}

func (o *healOptions) atLeastOnes() error {
	if err := atLeastOne(o.given, "preview", o.Data.Preview); err != nil {
		return err
	}
	if o.given.Flags().Changed("lr") && o.LR == 0 {
		return usage("--lr 0: want more than 0")
	}
	return atLeastOne(o.given, "steps", o.Steps)
}

func printHealing(a *app, l report.Line) error {
	if a.json {
		return a.line(l)
	}
	if e, ok := l.(report.HealEval); ok {
		best := ""
		if e.Best {
			best = ", the best so far"
		}
		a.note("step %d: validation loss %.4f%s", e.Step, float64(e.Loss), best)
	}
	return nil
}

func printHealed(a *app, d report.Healed) error {
	if a.json {
		return a.line(d)
	}
	t := &report.Table{Header: []string{"step", "validation loss"}}
	if d.LossFirst != nil {
		t.Add(report.Int(0), report.Float(*d.LossFirst))
	}
	if d.LossBest != nil {
		t.Add(report.Int(d.Kept), report.Float(*d.LossBest))
	}
	if d.LossSaved != nil {
		t.Add(report.String("as written"), report.Float(*d.LossSaved))
	}
	if d.LossBest != nil { // with held-out samples
		if err := a.table(t); err != nil {
			return err
		}
	}
	a.note("in %s: %s, the values of step %d of %d", d.Path, d.Method, d.Kept, d.Steps)
	if d.Base != "" {
		a.note("its base is not the whole model: give --adapter %s beside %s; for PEFT and merge-adapter, `coppice prune %s --out DIR` writes it", shell.Quote(d.Path), d.Base, d.Base)
	}
	return nil
}
