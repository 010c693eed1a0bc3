/* References to shared memory: the record is what the client says, what was really lent is the isolate's word. WIRE.md. */
#include <tee-sdk/tzmarshal.h>

#include "system.h"

void *TZIDecodeMemoryAccess(tzi_encode_buffer_t *psBuffer, uint32_t *puiLength, uint32_t *puiFlags)
{
	tzi_memory_record_t record;
	struct pal_lent lent;
	*puiLength = *puiFlags = 0;
	if (!TZIDecodeMemoryRecord(psBuffer, &record))
		return NULL;
	if (!__pal_lent(record.uiIndex, &lent) || lent.length != record.uiSize || lent.access != record.uiFlags) {
		psBuffer->uiRetVal = TZ_ERROR_DECODE_TYPE;
		return NULL;
	}
	*puiLength = record.uiSize;
	*puiFlags = record.uiFlags;
	return lent.address;
}

void *TZIDecodeMemoryReference(tzi_encode_buffer_t *psBuffer, uint32_t *puiLength)
{
	uint32_t flags;
	return TZIDecodeMemoryAccess(psBuffer, puiLength, &flags);
}
