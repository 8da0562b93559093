-- Subtracts the leaving messages from the sums of the record.
for _, leaves in ipairs(leaving) do
    local _, _, size = struct.unpack(layout.ENTRY, leaves[1])
    messages, bytes = messages - 1, bytes - size - OVERHEAD
end
if messages == 0 then
    earliest, kept = 0, 0
end
--+ orders_short
