package tokenizer

import (
	"os"
	"strings"
	"testing"
)

func benchmarkFiles(b *testing.B, run func(b *testing.B, dir string, text string)) {
	for _, name := range []string{"llama2", "llama3", "qwen2", "falcon", "phi3", "baichuan2", "chatglm2"} {
		b.Run(name, func(b *testing.B) {
			dir := shared(b, "data", "tokenizers", name)
			data, err := os.ReadFile(shared(b, "data", "text", "wiki.test.raw"))
			if err != nil {
				b.Fatal(err)
			}
			run(b, dir, string(data))
		})
	}
}

// BenchmarkEncode encodes WikiText-2, English, with a warm word cache:
//
//	go test ./tokenizer/ -run '^$' -bench . -cpu 1
func BenchmarkEncode(b *testing.B) {
	benchmarkFiles(b, func(b *testing.B, dir, text string) {
		tok, err := Load(dir)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			tok.Encode(text, false)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	benchmarkFiles(b, func(b *testing.B, dir, text string) {
		tok, err := Load(dir)
		if err != nil {
			b.Fatal(err)
		}
		ids := tok.Encode(text, false)
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if _, err := tok.Decode(ids); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkLoad(b *testing.B) {
	benchmarkFiles(b, func(b *testing.B, dir, _ string) {
		for b.Loop() {
			if _, err := Load(dir); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkEncodeOneCharacter is the worst case for merging: a piece without any place to cut.
func BenchmarkEncodeOneCharacter(b *testing.B) {
	text := strings.Repeat("a", 10<<20)
	benchmarkFiles(b, func(b *testing.B, dir, _ string) {
		tok, err := Load(dir)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			tok.Encode(text, false)
		}
	})
}
