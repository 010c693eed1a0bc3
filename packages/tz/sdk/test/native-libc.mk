# The libc under test: compiled for the host with sanitizers, every name of it behind pal_.
# make -f native-libc.mk OUT=directory [CC=clang] [SANITIZE=…]
CC = clang
OUT ?= build
SDK := $(dir $(abspath $(lastword $(MAKEFILE_LIST))))..
SANITIZE ?= -fsanitize=address,undefined -fno-sanitize-recover=undefined
FLAGS := -O1 -g $(SANITIZE) -std=gnu11 -Wall -Wextra -Werror
INCLUDED := -nostdinc -isystem $(SDK)/libc/include -isystem $(shell $(CC) -print-file-name=include)
SOURCES := $(filter-out %/strtold.c,$(wildcard $(SDK)/libc/src/*.c))
OBJECTS := $(patsubst $(SDK)/libc/src/%.c,$(OUT)/%.o,$(SOURCES))

$(OUT)/libc: $(SDK)/test/libc.c $(OUT)/renamed.o
	$(CC) $(FLAGS) -Wno-format-nonliteral -fno-builtin -o $@ $^ -lm

$(OUT)/renamed.o: $(OBJECTS)
	ld -r -o $(OUT)/whole.o $^
	nm --defined-only --extern-only $(OUT)/whole.o | awk '$$2 ~ /[TDBRV]/ && $$3 !~ /^(__asan|__ubsan|asan\.|___asan)/ { print $$3, "pal_" $$3 }' > $(OUT)/names
	objcopy --redefine-syms=$(OUT)/names $(OUT)/whole.o $@

$(OUT)/%.o: $(SDK)/libc/src/%.c
	@mkdir -p $(OUT)
	$(CC) $(FLAGS) $(INCLUDED) -ffreestanding -fno-builtin -c $< -o $@
