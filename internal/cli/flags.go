package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/coppice-ml/coppice/stage"
)

// engineFlags choose how a model is run.
func engineFlags(c *cobra.Command, e *stage.Engine) {
	inGroup(c.Flags(), flagsEngine, func(f *pflag.FlagSet) { engineFlagsOf(f, e) })
}

func engineFlagsOf(f *pflag.FlagSet, e *stage.Engine) {
	f.StringVar(&e.Device, "device", orAuto(e.Device), strings.Join(stage.Devices(), ", ")+"; cuda:1 is the second GPU")
	f.StringVar(&e.DType, "dtype", orAuto(e.DType), "matrix inputs: auto, bfloat16 (bf16) or float32 (fp32)")
	f.IntVar(&e.Threads, "threads", 0, "worker threads (default: one for each usable core)")
	f.StringVar(&e.Memory, "memory", "", "most memory the process may hold, mapped files included, such as 4GiB: with less of it layers stream (default 0.8 of what is free)")
	f.StringVar(&e.DeviceMemory, "device-memory", "", "most memory to take of a GPU, such as 16GiB: with less of it layers stream (default what is free)")
}

// adapterFlag runs an adapter beside a model's weights.
func adapterFlag(c *cobra.Command, e *stage.Engine) {
	inGroup(c.Flags(), flagsEngine, func(f *pflag.FlagSet) {
		f.StringVar(&e.Adapter, "adapter", "", "directory of a PEFT adapter (LoRA) that runs beside the weights")
	})
	nonEmpty(c, "adapter")
}

func orAuto(s string) string {
	if s == "" {
		return "auto"
	}
	return s
}

const dataHelp = "texts: a file, - for the standard input, a directory, or a data set of the hub, ORG/NAME[@REVISION]; :CONFIG/SPLIT after the last two picks a part"

// dataFlags say which token sequences a model is run on. With preset the command
// has a default for --data.
func dataFlags(c *cobra.Command, d *stage.Data, preset bool) {
	inGroup(c.Flags(), flagsData, func(f *pflag.FlagSet) { dataFlagsOf(f, d) })
	only := []string{"field", "windows", "samples", "length", "add-bos", "tokens-out"} // --data uses
	beforeRun(c, func(c *cobra.Command) error {
		for _, name := range only {
			if d.Source == "" && !preset && c.Flags().Changed(name) {
				return usage("--%s goes with --data, which is not given", name)
			}
		}
		if c.Flags().Changed("windows") && !c.Flags().Changed("samples") && d.Windows == "joined" {
			d.Samples = 0
		}
		return nil
	})
	nonEmpty(c, "tokens", "data", "tokens-out", "field")
	exclusive(c, "tokens", "data")
	for _, name := range only {
		exclusive(c, "tokens", name)
	}
}

func dataFlagsOf(f *pflag.FlagSet, d *stage.Data) {
	f.StringVar(&d.Tokens, "tokens", "", "JSON file of token ids, [[ids…], …], used exactly as given")
	f.StringVar(&d.Source, "data", "", dataHelp)
	fieldFlag(f, &d.Field, "with --data: column that holds the text")
	f.StringVar(&d.Windows, "windows", d.Windows, "with --data: drawn from documents, or joined: all rows joined by blank lines and cut up, as ppl does")
	f.IntVar(&d.Samples, "samples", d.Samples, "with --data: number of windows (joined: all)")
	f.IntVar(&d.Length, "length", d.Length, "with --data: tokens in a window, BOS included")
	f.StringVar(&d.AddBOS, "add-bos", d.AddBOS, "with --data: begin every window with BOS: true, false or auto (where the tokenizer adds one)")
	f.StringVar(&d.TokensOut, "tokens-out", "", "with --data: write the token ids to this new file, for --tokens")
	f.Uint64Var(&d.Seed, "seed", d.Seed, "seed of everything drawn at random")
}

// fieldFlag names the column that holds the text. The help shows the default; the
// field stays empty unless it is given.
func fieldFlag(f *pflag.FlagSet, field *string, help string) {
	f.StringVar(field, "field", "", help)
	f.Lookup("field").DefValue = "text"
}

// layerFlags choose a pruning, under a title that says what becomes of it.
func layerFlags(c *cobra.Command, title string, l *stage.Layers) {
	cutFlags(c, title, &l.Cut)
	inGroup(c.Flags(), title, func(f *pflag.FlagSet) {
		f.StringVar(&l.Keep, "keep", "", "layers to keep; the rest is left out")
	})
	nonEmpty(c, "keep")
	exclusive(c, "drop", "keep", "plan")
}

// cutFlags are those without --keep, for a command in which that means something else.
func cutFlags(c *cobra.Command, title string, l *stage.Cut) {
	inGroup(c.Flags(), title, func(f *pflag.FlagSet) {
		f.StringVar(&l.Drop, "drop", "", "layers to leave out, such as 3,7,24-31")
		f.StringVar(&l.Plan, "plan", "", "a plan file, as prune writes it, or the directory of what it wrote")
	})
	nonEmpty(c, "drop", "plan")
	exclusive(c, "drop", "plan")
}

// chatFlags put a text into a model's chat template.
func chatFlags(c *cobra.Command, f *stage.Chat) {
	c.Flags().BoolVar(&f.On, "chat", false, "put the text into the model's chat template, as the user's message")
	c.Flags().StringVar(&f.System, "system", "", "with --chat: system message before the user's")
	c.Flags().StringVar(&f.Template, "chat-template", "", "another template: a name of the model's own, a .jinja file, or chatml, vicuna, chatglm2, chatglm3, baichuan2")
	nonEmpty(c, "chat-template")
	beforeRun(c, func(c *cobra.Command) error {
		rows := c.Flag("data") != nil && c.Flag("data").Changed // whose prompts are put into it anyway
		for _, name := range []string{"system", "chat-template"} {
			if c.Flags().Changed(name) && !f.On && !rows {
				return usage("--%s has no effect without --chat", name).withHint("add --chat")
			}
		}
		return nil
	})
}

// yesFlag consents to long work beforehand.
func (a *app) yesFlag(c *cobra.Command) {
	inGroup(c.Flags(), flagsOutput, func(f *pflag.FlagSet) {
		f.BoolVar(&a.yes, "yes", false, "do not ask about work of more than an hour")
	})
}

// warnOfUnused names flags that were given and change nothing.
func (a *app) warnOfUnused(c *cobra.Command, unused []stage.Unused) {
	for _, u := range unused {
		name := strings.TrimPrefix(flagName(u.Field), "--")
		switch {
		case !c.Flags().Changed(name):
		case u.Field == "tokens" || u.Field == "data":
			a.warn("the data is not used: %s", u.Why)
		default:
			a.warn("--%s has no effect: %s", name, u.Why)
		}
	}
}

// beforeRun adds a check that comes before those that are there.
func beforeRun(c *cobra.Command, check func(c *cobra.Command) error) {
	before := c.PreRunE
	c.PreRunE = func(c *cobra.Command, args []string) error {
		if err := check(c); err != nil {
			return err
		}
		if before != nil {
			return before(c, args)
		}
		return nil
	}
}

// exclusive makes a usage error of flags that contradict each other.
func exclusive(c *cobra.Command, names ...string) {
	beforeRun(c, func(c *cobra.Command) error {
		var given []string
		for _, name := range names {
			if c.Flags().Changed(name) {
				given = append(given, "--"+name)
			}
		}
		if len(given) > 1 {
			return usage("%s contradict each other", strings.Join(given, " and ")).withHint("give one of them")
		}
		return nil
	})
}

// nonEmpty makes a usage error of flags that are given without a value, as a
// script does whose variable is not set.
func nonEmpty(c *cobra.Command, names ...string) {
	beforeRun(c, func(c *cobra.Command) error {
		for _, name := range names {
			if f := c.Flag(name); f.Changed && f.Value.String() == "" {
				return usage("--%s is empty", name).withHint("give it a value or leave it out")
			}
		}
		return nil
	})
}

// atLeastOne refuses 0, which a stage takes for a number that is not given.
func atLeastOne(c *cobra.Command, name string, value int) error {
	if c.Flags().Changed(name) && value < 1 {
		return usage("--%s %d: want at least 1", name, value)
	}
	return nil
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// joined writes integers separated by a text.
func joined[T any](values []T, between string) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(values), "[]"), " ", between)
}
