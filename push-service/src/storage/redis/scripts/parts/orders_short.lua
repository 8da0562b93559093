if ordered and messages > 0 and messages < ORDER_BELOW then
    ordered, short_again = false, true
end
