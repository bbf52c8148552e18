package stage

import (
	"os"
	"strings"
	"testing"
)

// TestStop: a text ends before the first of its stop strings, wherever its tokens
// end, and says so; what a listener heard is the text.
func TestStop(t *testing.T) {
	const whole = ", there was a little girl named Lily. She had a small garden behind her house."
	for _, tt := range []struct {
		stop   []string
		tokens int
		want   string
		finish string
	}{
		{nil, 12, whole, "length"},
		{[]string{"nowhere"}, 12, whole, "length"},
		{[]string{"Lily"}, 60, ", there was a little girl named ", "stop_sequence"},
		{[]string{"den be", "Lily. She had a small garden"}, 60, ", there was a little girl named ", "stop_sequence"},
		{[]string{"."}, 60, ", there was a little girl named Lily", "stop_sequence"},
		{[]string{","}, 60, "", "stop_sequence"},
	} {
		g := DefaultGenerate()
		prompt := "Once upon a time"
		g.Model, g.Prompt, g.MaxTokens, g.Stop = "../testdata/trained", &prompt, tt.tokens, tt.stop
		var heard strings.Builder
		made, err := g.Run(t.Context(), Env{Getenv: os.Getenv, Talk: Silent{}}, func(_ int, text string) error {
			heard.WriteString(text)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		got := *made[0].Text
		if tt.finish == "length" && !strings.HasPrefix(tt.want, got) || tt.finish != "length" && got != tt.want || made[0].Finish != tt.finish || heard.String() != got {
			t.Errorf("%q: %q (%s), heard %q; want %q (%s)", tt.stop, got, made[0].Finish, heard.String(), tt.want, tt.finish)
		}
	}
}
