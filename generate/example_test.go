package generate_test

import (
	"context"
	"fmt"
	"log"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/generate"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/resident"
	"github.com/coppice-ml/coppice/tokenizer"
)

func Example() {
	const dir = "../testdata/trained"
	tok, err := tokenizer.Load(dir)
	if err != nil {
		log.Fatal(err)
	}
	c, err := checkpoint.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	m, err := model.Open(c)
	if err != nil {
		log.Fatal(err)
	}
	e, err := cpu.New(cpu.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	set := resident.New(m, e, resident.Options{})
	defer set.Close()

	var prompt []int32
	for _, id := range tok.Encode("Once upon a time", true) {
		prompt = append(prompt, int32(id))
	}
	stream := tok.Stream()
	fmt.Print("Once upon a time")
	err = generate.Run(context.Background(), set, nil, [][]int32{prompt}, generate.Options{MaxTokens: 40}, func(_ int, id int32) error {
		text, err := stream.Next(int(id))
		fmt.Print(text)
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// Once upon a time, there was a little girl named Lily. She had a small garden behind her house. Every day she went to the g
}
