package training

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/internal/sapling"
	"github.com/coppice-ml/coppice/internal/sapling/world"
)

// TestSeen: there are at most 1,500 facts, and the stages together tell each often,
// by the rows that healing draws and the order it takes them in.
func TestSeen(t *testing.T) {
	w := world.New(world.Seed)
	dir := t.TempDir()
	if err := sapling.Make(dir); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, NewRows(w).Files()); err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, s := range Stages() {
		taken, err := s.Taken(t.Context(), filepath.Join(dir, sapling.ModelDir), dir)
		if err != nil {
			t.Fatal(err)
		}
		if missing := s.Steps*s.Batch - len(taken); missing < 0 || missing >= s.Batch { // the last batch of an epoch may be smaller
			t.Errorf("%s takes %d rows, want %d", s.Name, len(taken), s.Steps*s.Batch)
		}
		rows = append(rows, taken...)
	}
	facts := 0
	for _, told := range w.Told(slices.Values(rows)) {
		facts += len(told.Times)
		if fewest, _, _ := told.Range(); fewest < Often {
			t.Errorf("%s: told %d times at the fewest, want %d", told.Kind, fewest, Often)
		}
	}
	if facts != w.Facts() || facts > 1500 {
		t.Errorf("%d facts are counted, the world has %d", facts, w.Facts())
	}
}

// TestCommands: the first two stages go on in float32 from the first weights, the
// others from what the one before wrote; all see the same data below the directory.
func TestCommands(t *testing.T) {
	for i, want := range []string{
		"heal d/start --out d/stage1 --save-every 2m --yes --method full --data d/train/texts.jsonl",
		"heal d/start --init-from d/stage1 --out d/stage2 --save-every 2m --yes --method full --data d/facts/texts.jsonl",
		"heal d/stage2 --out d/stage3 --save-every 2m --yes --method partial --last 4 --data d/train/texts.jsonl",
	} {
		before := ""
		if i > 0 {
			before = Stages()[i-1].Name
		}
		if got := filepath.ToSlash(strings.Join(Stages()[i].Command("d", before), " ")); !strings.HasPrefix(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got := filepath.ToSlash(strings.Join(Full(Stages())[2].Command("d", "stage2"), " ")); !strings.HasPrefix(got, "heal d/start --init-from d/stage2 --out d/stage3 --save-every 2m --yes --method full") {
		t.Error(got)
	}
}
