"""Still pictures: reading, deraining and writing them."""
