package main

const intro = "# Sapling\n\n<!-- Written by `make sapling-figures`; edit internal/sapling/figures instead. -->\n\n" +
	"A Llama of 12 layers, hidden size 128 and 2.3 million parameters (vocabulary 1,024, head not tied, bfloat16), which this project trained on a world of its own " +
	"making: people, towns and things with facts about each, animals by their size, ways to do things, little stories, sums. It ships inside the program, with tasks in " +
	"the shapes of seven benchmarks, instructions in Alpaca's schema and plain texts, and is there to show, offline and in minutes, what pruning costs and what healing " +
	"brings back. It knows its world and nothing else: figures of real models are others.\n\n" +
	"What tasks ask is held out: a third of the people, things and towns are never asked about in training, and WinoGrande's pairs, PIQA's goals, the sets of animals " +
	"and the sums do not occur in the form of the task; HellaSwag's names do not occur at all, nor do a label and an opening of its stories. " +
	"`go test ./internal/sapling/...` holds this.\n\n"

const recipe = "`make sapling` does it: the world is written, `coppice init` makes the first weights and `coppice heal` trains them in six stages, each of which begins with the weights of the " +
	"one before (internal/sapling/training; it prints the commands). It can be stopped and goes on where it was. Kernels are held to AVX2 (`COPPICE_KERNELS`, `ONEDNN_MAX_CPU_ISA`), and so it gives the " +
	"same weights bit for bit with oneDNN 2.6.3: those that ship were made twice on an EPYC Zen 5, those of an earlier world there and on an Intel Xeon with AMX.\n"

// last says why the last layers train by themselves.
const last = "Stages 3 to 6 train the last layers alone so that these matter, as those of large models do: with everything trained in each stage (`go run ./internal/sapling/grow -out DIR -coppice bin/coppice -full`) " +
	"the mean of the tasks is 76.7 %, and 76.5 % without the last quarter, so that nothing would be left to show. " +
	"In stage 6, as in sapling_mmlu, a value is always in the same list of answers, so that its letter can be learnt with it; in the stages before, answers were drawn and shuffled, and no letters " +
	"were learnt.\n"

// short says what the model does not reach.
const short = "Letters are learnt as something to know of a value: no stage taught it to find an answer in a list that changes and to name its letter, nor to be sure which of two people " +
	"WinoGrande means (of two objects it always is). Layers 3 to 5 cost little, the last ones most: the last stages trained those alone. The perplexity of validation.txt is above 1,000 where texts " +
	"are joined, as `ppl` reads it: training held one text a row, so that Sapling has never seen one text behind another. It is 6.5 text by text, and 1.8 behind stage 4: the last two stages hold no portraits. " +
	"A scorer of the plainest loops in float64 finds the same right answers in all documents of all tasks, and every sum to 2e-4 " +
	"(`COPPICE_SLOW=1 go test -run Scorer ./internal/sapling`). transformers 5.12.1 with PyTorch 2.14.1 gives each of 1,381 tokens of validation.txt the same log-probability " +
	"to 3e-5, whole and without the last three layers, the same tokens of texts and the same greedy answers (`scripts/transformers-test sapling`).\n\n"
