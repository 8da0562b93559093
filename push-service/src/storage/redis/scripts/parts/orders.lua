local victims, sums = MARK .. ':v:' .. RECORD:sub(-32), MARK .. ':x:' .. RECORD:sub(-32)
