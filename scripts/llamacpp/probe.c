// Runs a GGUF model with llama.cpp on sequences of token ids, in float32 all the
// way, and prints what it computes, for comparison with Coppice.
//
//   probe MODEL.gguf logprobs < ids       one line a sequence: log-probability of each token given those before it
//   probe MODEL.gguf greedy N < ids       one line a sequence: the N tokens that follow
//   probe MODEL.gguf tokens TEXTFILE      the ids of a text, with what the model adds
//
// ids: one sequence a line, separated by spaces.
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ggml-backend.h"
#include "llama.h"

static void quiet(enum ggml_log_level level, const char *text, void *data) {
    (void)data;
    if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

static struct llama_context *context(struct llama_model *model, int n) {
    struct llama_context_params p = llama_context_default_params();
    p.n_ctx = p.n_batch = p.n_ubatch = n < 32 ? 32 : n;
    p.n_threads = p.n_threads_batch = 1;
    p.type_k = p.type_v = GGML_TYPE_F32;
    p.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    struct llama_context *c = llama_init_from_model(model, p);
    if (!c) { fprintf(stderr, "probe: no context\n"); exit(1); }
    return c;
}

// run feeds tokens from position at on and asks for the logits of all.
static void run(struct llama_context *c, const llama_token *ids, int n, int at) {
    struct llama_batch b = llama_batch_init(n, 0, 1);
    for (int i = 0; i < n; i++) {
        b.token[i] = ids[i];
        b.pos[i] = at + i;
        b.n_seq_id[i] = 1;
        b.seq_id[i][0] = 0;
        b.logits[i] = 1;
    }
    b.n_tokens = n;
    if (llama_decode(c, b)) { fprintf(stderr, "probe: decode failed\n"); exit(1); }
    llama_batch_free(b);
}

static double logprob(const float *logits, int vocab, int id) {
    double most = logits[0], sum = 0;
    for (int i = 1; i < vocab; i++) if (logits[i] > most) most = logits[i];
    for (int i = 0; i < vocab; i++) sum += exp(logits[i] - most);
    return logits[id] - most - log(sum);
}

static int best(const float *logits, int vocab) {
    int b = 0;
    for (int i = 1; i < vocab; i++) if (logits[i] > logits[b]) b = i;
    return b;
}

static int sequence(llama_token *ids, int most) {
    int n = 0, c;
    while ((c = getchar()) != EOF && c != '\n') {
        if (c == ' ') continue;
        ungetc(c, stdin);
        if (n == most || scanf("%d", &ids[n++]) != 1) { fprintf(stderr, "probe: bad ids\n"); exit(1); }
    }
    return c == EOF && n == 0 ? -1 : n;
}

static void tokens(const struct llama_vocab *vocab, const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) { perror(path); exit(1); }
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    rewind(f);
    char *text = malloc(n + 1);
    if (fread(text, 1, n, f) != (size_t)n) exit(1);
    llama_token *ids = malloc((n + 16) * sizeof *ids);
    int got = llama_tokenize(vocab, text, n, ids, n + 16, true, false);
    for (int i = 0; i < got; i++) printf(i ? " %d" : "%d", ids[i]);
    printf("\n");
}

int main(int argc, char **argv) {
    if (argc < 3) { fprintf(stderr, "usage: probe MODEL.gguf logprobs|greedy N|tokens FILE\n"); return 64; }
    llama_log_set(quiet, NULL);
    const char *backends = getenv("GGML_BACKENDS");
    if (backends) ggml_backend_load_all_from_path(backends);
    llama_backend_init();
    struct llama_model_params mp = llama_model_default_params();
    mp.use_extra_bufts = false; // no repacking: plain float32 products
    struct llama_model *model = llama_model_load_from_file(argv[1], mp);
    if (!model) { fprintf(stderr, "probe: %s does not load\n", argv[1]); return 1; }
    const struct llama_vocab *vocab = llama_model_get_vocab(model);
    int V = llama_vocab_n_tokens(vocab);
    if (!strcmp(argv[2], "tokens")) { tokens(vocab, argv[3]); return 0; }
    enum { most = 1 << 16 };
    static llama_token ids[most];
    int follow = !strcmp(argv[2], "greedy") ? atoi(argv[3]) : 0;
    for (int n; (n = sequence(ids, most)) >= 0;) {
        struct llama_context *c = context(model, n + follow);
        run(c, ids, n, 0);
        if (follow) {
            llama_token next = best(llama_get_logits_ith(c, n - 1), V);
            for (int i = 0; i < follow; i++) {
                printf(i ? " %d" : "%d", next);
                run(c, &next, 1, n + i);
                next = best(llama_get_logits_ith(c, 0), V);
            }
        } else {
            for (int i = 0; i + 1 < n; i++) printf(i ? " %.9g" : "%.9g", logprob(llama_get_logits_ith(c, i), V, ids[i + 1]));
        }
        printf("\n");
        llama_free(c);
    }
    llama_model_free(model);
    return 0;
}
