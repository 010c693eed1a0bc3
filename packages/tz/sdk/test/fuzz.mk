# The decoder under libFuzzer, the address and the undefined-behaviour sanitizer, seeded with the vectors of test/vectors.
# make -f packages/tz/sdk/test/fuzz.mk MINUTES=10 [OUT=directory] [UNTIL=-runs=100000]
MINUTES ?= 1
UNTIL ?= -max_total_time=$$(($(MINUTES) * 60))
OUT ?= /tmp/casemate-fuzz-c-decoder
SDK := $(dir $(abspath $(lastword $(MAKEFILE_LIST))))..

.PHONY: run
run: $(OUT)/fuzz $(OUT)/seeds/done
	@mkdir -p $(OUT)/corpus
	cd $(OUT) && ./fuzz $(UNTIL) -max_len=1024 -timeout=10 -print_final_stats=1 corpus seeds

$(OUT)/fuzz: $(SDK)/test/fuzz-decoder.c $(wildcard $(SDK)/src/*.c) $(wildcard $(SDK)/include/*/*.h)
	@mkdir -p $(OUT)
	clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -I$(SDK)/include $(SDK)/test/fuzz-decoder.c \
		$(SDK)/src/marshal.c $(SDK)/src/format.c $(SDK)/src/memory.c -o $@

# Each message alone, and behind eight bytes that tell what to decode.
$(OUT)/seeds/done: $(SDK)/../test/vectors/messages.json
	@mkdir -p $(OUT)/seeds
	sed -n 's/.*"buffer": "\([0-9a-f ]*\)".*/\1/p' $< | tr -d ' ' | while read hex; do \
		i=$$((i + 1)); echo $$hex | xxd -r -p > $(OUT)/seeds/$$i; \
		echo 0001020304050607$$hex | xxd -r -p > $(OUT)/seeds/told-$$i; done
	touch $@
