package stage

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/coppice-ml/coppice/data"
	"github.com/coppice-ml/coppice/heal"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
)

// TrainData says what a model is trained on: rows of text by their schema, or
// rows of ids with labels.
type TrainData struct {
	Sources        []string `yaml:"data"`            // files, directories, data sets of the hub; ":WEIGHT" after one gives its share
	Tokens         string   `yaml:"train_tokens"`    // JSON rows of input_ids, labels and attention_mask, used as they are
	Schema         string   `yaml:"schema"`          // one of data.Schemas; "": recognised by its columns
	Map            []string `yaml:"map"`             // names of columns where they are not the schema's: output=answer
	Template       string   `yaml:"template"`        // alpaca, chat (the model's own) or a chat template; "": what the schema asks for
	Learn          string   `yaml:"train_on"`        // assistant, last (of a conversation's answers) or all tokens; "": assistant
	MaxLength      int      `yaml:"max_length"`      // tokens of a sample, cut on the right
	Samples        int      `yaml:"samples"`         // drawn by seed; 0: all
	Validation     int      `yaml:"validation"`      // samples held out; -1: the smaller of 2000 and 4 %
	ValidationData string   `yaml:"validation_data"` // held-out rows of their own, in the form of the others
	Preview        int      `yaml:"preview"`         // only show so many samples
	Seed           uint64   `yaml:"seed"`
}

// DefaultTrainData is the paper's: all rows, 256 tokens.
func DefaultTrainData() TrainData { return TrainData{MaxLength: 256, Validation: -1, Seed: 42} }

// Check finds what can be wrong before any file is opened.
func (d TrainData) Check() error {
	switch {
	case d.Tokens == "" && len(d.Sources) == 0:
		return wrong("{data}: on what rows?").with("pass {data} with a file, a directory or a data set of the hub, or {train_tokens} with rows of ids")
	case d.Tokens != "" && len(d.Sources) > 0:
		return wrong("{train_tokens} and {data} are both given").with("give one of them")
	case d.MaxLength < 2:
		return wrong("{max_length} %d: want at least 2, a token and one before it", d.MaxLength)
	case d.Samples < 0:
		return wrong("{samples} %d: want at least 1", d.Samples)
	case d.Preview < 0:
		return wrong("{preview} %d: want at least 1", d.Preview)
	case d.Validation < -1:
		return wrong("{validation} %d: want 0 or more samples", d.Validation)
	}
	if _, err := data.ParseRenames(d.Map); err != nil {
		return wrong("{map}: %w", err)
	}
	for _, s := range d.Sources {
		if _, _, err := weighted(s); err != nil {
			return err
		}
	}
	if err := oneOf("train_on", d.learn(), "assistant", "last", "all"); err != nil {
		return err
	}
	if d.Schema != "" {
		var names []string
		for _, s := range data.Schemas() {
			names = append(names, string(s))
		}
		return oneOf("schema", d.Schema, names...)
	}
	return nil
}

// learn is which tokens are targets.
func (d TrainData) learn() string {
	if d.Learn == "" {
		return "assistant"
	}
	return d.Learn
}

// weighted takes the weight off a source, 0 if it has none: what follows the last
// colon is one where it is a number, and no file has the whole name.
func weighted(source string) (name string, weight float64, err error) {
	at := strings.LastIndex(source, ":")
	if at <= 0 || at+1 == len(source) || !strings.ContainsAny(source[at+1:at+2], "0123456789.-+") {
		return source, 0, nil
	}
	if _, err := os.Stat(source); err == nil {
		return source, 0, nil
	}
	weight, err = strconv.ParseFloat(source[at+1:], 64)
	if err != nil {
		return source, 0, nil
	}
	if !(weight > 0) || math.IsInf(weight, 0) {
		return "", 0, wrong("{data} %s: the weight %s is not above 0", source, source[at+1:])
	}
	return source[:at], weight, nil
}

// trainSet is what was made of the rows.
type trainSet struct {
	train, valid []heal.Sample
	shown        []made
	skipped      int // rows without a target
	cutAway      int // those of them that were cut
	warned       bool
	cut          int // samples cut at MaxLength
	source       string
	sha256       string
}

// made is a sample, and the row that it was made of.
type made struct {
	heal.Sample
	row string
	cut bool
}

// read makes samples of the rows.
func (d TrainData) read(ctx context.Context, env Env, dir string, spec *model.Spec) (*trainSet, error) {
	if d.Tokens == "" && d.MaxLength > spec.MaxPositions {
		return nil, wrong("{max_length} %d is longer than the model's %d positions", d.MaxLength, spec.MaxPositions).with("pass {max_length} %d or less", spec.MaxPositions)
	}
	set := &trainSet{}
	make, err := d.maker(env, dir, spec, set)
	if err != nil {
		return nil, err
	}
	pools, err := d.pools(ctx, set, make)
	if err != nil {
		return nil, err
	}
	if d.ValidationData != "" {
		held, err := make(ctx, "validation_data", d.ValidationData)
		if err != nil {
			return nil, err
		}
		set.valid = samplesOf(held)
	}
	if err := set.divide(pools, d); err != nil {
		return nil, err
	}
	set.sha256 = hashSamples(set.train, set.valid)
	env.Talk.Note("data: %s, %s held out%s", report.Plural(len(set.train), "sample"), report.Plural(len(set.valid), "sample"), set.remarks())
	return set, nil
}

// pool is what samples are drawn from, with its share of them.
type pool struct {
	source string
	made   []made
	share  float64
}

// pools reads the sources: into one pool together, or where any has a weight into
// one each, for which 1 is the weight of those without.
func (d TrainData) pools(ctx context.Context, set *trainSet, make makeSamples) ([]pool, error) {
	var out []pool
	mixed, sum := false, 0.0
	for _, source := range append(slices.Clone(d.Sources), nonEmpty(d.Tokens)...) {
		name, weight, err := source, 0.0, error(nil)
		if source != d.Tokens {
			if name, weight, err = weighted(source); err != nil {
				return nil, err
			}
		}
		some, err := make(ctx, "data", name)
		if err != nil {
			return nil, err
		}
		if weight > 0 {
			mixed = true
			set.source += fmt.Sprintf(":%v", weight)
		} else {
			weight = 1
		}
		out, sum = append(out, pool{name, some, weight}), sum+weight
	}
	if !mixed {
		all := pool{share: 1}
		for _, p := range out {
			all.made = append(all.made, p.made...)
		}
		return []pool{all}, nil
	}
	for i := range out {
		if out[i].share /= sum; len(out[i].made) == 0 {
			return nil, failed("{data} %s: no row has anything to learn, and a share of the samples is asked of it", out[i].source)
		}
	}
	return out, nil
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func samplesOf(all []made) []heal.Sample {
	var out []heal.Sample
	for _, m := range all {
		out = append(out, m.Sample)
	}
	return out
}

func (s *trainSet) remarks() string {
	out := ""
	if s.cut > 0 {
		out += fmt.Sprintf(", %d cut on the right", s.cut)
	}
	if s.skipped > 0 {
		out += fmt.Sprintf(", %d skipped: nothing to learn in them", s.skipped)
	}
	return out
}

// nothing says why no row has a target; given says that the rows say what is learnt.
func (s *trainSet) nothing(given bool) error {
	p := failed("%s: none of %s has anything to learn", s.source, report.Plural(s.skipped, "row"))
	if s.cutAway > 0 {
		return p.with("%d of them were cut: their prompts are longer than {max_length}", s.cutAway)
	}
	if given {
		return p.with("their labels are all -100, or stand at the first token alone, which nothing precedes")
	}
	return p.with("they have no answer: conversations need a turn of the assistant's, or {train_on} all")
}

// divide draws samples and holds some out, of every pool its share.
func (s *trainSet) divide(pools []pool, d TrainData) error {
	total, shares := math.MaxInt, []float64{}
	for _, p := range pools {
		total = min(total, int(float64(len(p.made))/p.share))
		shares = append(shares, p.share)
	}
	if total == 0 && s.skipped == 0 {
		return failed("%s: there are no rows", s.source)
	}
	if total == 0 {
		return s.nothing(d.Tokens != "")
	}
	if d.Samples > 0 && (d.Samples < total || len(pools) > 1) {
		total = d.Samples
	}
	hold := d.Validation
	switch {
	case d.ValidationData != "":
		hold = 0
	case hold < 0:
		hold = min(2000, total*4/100)
	}
	if hold >= total {
		return wrong("{validation} %d: there are only %s", hold, report.Plural(total, "sample")).with("hold fewer out")
	}
	counts, holds := apportion(total, shares), apportion(hold, shares)
	for i, p := range pools {
		if err := s.draw(p, uint64(i), counts[i], holds[i], d); err != nil {
			return err
		}
	}
	return nil
}

// drawStream is the stream of random numbers that rows are drawn by, those of the
// first pool.
const drawStream = 0x76616c6964

// draw takes samples of a pool by seed, some of them to hold out. More than it has
// are the others over again.
func (s *trainSet) draw(p pool, stream uint64, count, hold int, d TrainData) error {
	order := rand.New(rand.NewPCG(d.Seed, drawStream+stream)).Perm(len(p.made))
	if count > len(order) && hold >= len(order) {
		return wrong("{validation} %d: %s has only %s", d.Validation, p.source, report.Plural(len(order), "sample")).with("hold fewer out")
	}
	hold = min(hold, count)
	for _, i := range slices.Sorted(slices.Values(order[:hold])) {
		s.valid = append(s.valid, p.made[i].Sample)
	}
	var train []int
	for left, rest := count-hold, order[hold:]; left > 0; left -= len(rest) {
		train = append(train, rest[:min(left, len(rest))]...)
	}
	for _, i := range slices.Sorted(slices.Values(train)) {
		s.train = append(s.train, p.made[i].Sample)
		if len(s.shown) < d.Preview {
			s.shown = append(s.shown, p.made[i])
		}
	}
	return nil
}

// apportion divides n by shares, which come to 1, into whole numbers by the
// largest remainders; of equal ones the first.
func apportion(n int, shares []float64) []int {
	out := make([]int, len(shares))
	left, order := n, make([]int, len(shares))
	rest := make([]float64, len(shares))
	for i, share := range shares {
		exact := float64(n) * share
		out[i], order[i] = int(exact), i
		rest[i] = exact - float64(out[i])
		left -= out[i]
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(rest[b], rest[a]) })
	for _, i := range order[:max(0, left)] {
		out[i]++
	}
	return out
}

// hashSamples identifies training data: ids and labels, in order.
func hashSamples(sets ...[]heal.Sample) string {
	h := sha256.New()
	for _, set := range sets {
		_ = binary.Write(h, binary.LittleEndian, int64(len(set)))
		for _, s := range set {
			_ = binary.Write(h, binary.LittleEndian, int64(len(s.Tokens)))
			_ = binary.Write(h, binary.LittleEndian, s.Tokens)
			_ = binary.Write(h, binary.LittleEndian, s.Labels)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}
