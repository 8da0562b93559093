-- The server to which a slot moves runs a script only if all its keys exist, or if it has one key. So the other keys follow
-- the arguments there, and then their number (`links/moving_slot.rs`).
if #KEYS == 1 then
    for _ = 1, tonumber(table.remove(ARGV)) do
        table.insert(KEYS, 2, table.remove(ARGV))
    end
end
