package stage

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/data"
	"github.com/coppice-ml/coppice/internal/wholefile"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/tokenizer"
)

// Values of Data.Windows.
const (
	windowsDrawn  = "drawn"
	windowsJoined = "joined"
)

// blankLine stands between rows that are joined.
const blankLine = "\n\n"

// cutUp makes windows of a text; what is left at its end is dropped.
func cutUp(ids []int32, length int) [][]int32 {
	windows := make([][]int32, len(ids)/length)
	for i := range windows {
		windows[i] = ids[i*length : (i+1)*length]
	}
	return windows
}

// rowsOf reads the texts of a column.
func rowsOf(ctx context.Context, texts corpus, field string) ([]string, error) {
	var rows []string
	for text, err := range data.Texts(texts.files, field) {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, text)
	}
	if len(rows) == 0 {
		return nil, failed("%s: holds no text", texts.source)
	}
	return rows, nil
}

// joined are the windows of all texts joined, tokenised once, bos at the start, as
// PPL has them: all, or some drawn by seed, in their order.
func (d Data) joined(ctx context.Context, texts corpus, t *tokenizer.Tokenizer, bos []int32, dir string, spec *model.Spec) ([][]int32, *report.Data, error) {
	rows, err := rowsOf(ctx, texts, d.Field)
	if err != nil {
		return nil, nil, err
	}
	ids, err := encoder(t, dir, spec)(ctx, strings.Join(rows, blankLine))
	if err != nil {
		return nil, nil, err
	}
	ids = append(slices.Clone(bos), ids...)
	seqs := cutUp(ids, d.Length)
	if len(seqs) == 0 || len(seqs) < d.Samples {
		return nil, nil, failed("%s: the text has %s, which are %s of %d", texts.source, report.Plural(len(ids), "token"), report.Plural(len(seqs), "window"), d.Length).with("ask for fewer {samples}, or a smaller {length}")
	}
	info := &report.Data{
		Source: texts.source, Field: d.field(), Windows: windowsJoined, Samples: len(seqs), Length: d.Length, BOS: len(bos) > 0, Dropped: len(ids) % d.Length,
	}
	if d.Samples > 0 {
		some := rand.New(rand.NewPCG(d.Seed, 0x6a6f696e)).Perm(len(seqs))[:d.Samples]
		var drawn [][]int32
		for _, i := range slices.Sorted(slices.Values(some)) {
			drawn = append(drawn, seqs[i])
		}
		seqs, info.Samples, info.Seed = drawn, d.Samples, &d.Seed
	}
	info.SHA256 = data.HashTokens(seqs)
	return seqs, info, d.write(seqs)
}

// writeTokens leaves sequences in a new file, if one is named.
func writeTokens(path string, seqs [][]int32) error {
	if path == "" {
		return nil
	}
	var b bytes.Buffer
	if err := data.WriteTokens(&b, seqs); err != nil {
		return err
	}
	if err := checkNew(path); err != nil {
		return err
	}
	return wholefile.Write(path, func(f *os.File) error {
		_, err := f.Write(b.Bytes())
		return err
	})
}
