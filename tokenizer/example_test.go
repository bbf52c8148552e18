package tokenizer_test

import (
	"fmt"

	"github.com/coppice-ml/coppice/tokenizer"
)

func Example() {
	tok, err := tokenizer.LoadFile("testdata/stories260K.model")
	if err != nil {
		fmt.Println(err)
		return
	}
	ids := tok.Encode("Once upon a time", true)
	fmt.Println(tok.Kind(), tok.VocabSize(), ids)

	stream := tok.Stream()
	for _, id := range ids {
		text, err := stream.Next(id)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s|", text)
	}
	fmt.Println(stream.Flush())
	// Output:
	// sentencepiece-bpe 512 [1 403 407 261 378]
	// |Once| upon| a| time|
}
